"""Define the merged model, one encoder with the head of every task, and build it again."""
