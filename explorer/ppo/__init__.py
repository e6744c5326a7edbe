"""PPO for a language model, in the order of the paper. Pure torch: no widget library is imported below this folder."""
