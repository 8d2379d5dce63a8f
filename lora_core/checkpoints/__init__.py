"""Files of weights, whoever's model they are: their headers, their packed forms, and where their networks live."""
