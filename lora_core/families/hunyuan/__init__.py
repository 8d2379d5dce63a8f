"""HunyuanVideo, the 13B model of text to video and its LoRAs: names, specs, how its network is called and opened."""
