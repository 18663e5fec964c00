"""OpenAI Chat Completions, and servers of its kind."""
