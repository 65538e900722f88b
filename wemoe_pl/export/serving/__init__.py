"""Serve a merged model over HTTP, by LitServe: requests of different tasks share forward passes."""
