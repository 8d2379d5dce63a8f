"""The families of models: what each is called, how it is told, opened and run; only the registry knows them all."""
