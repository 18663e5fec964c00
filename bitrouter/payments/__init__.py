"""Payment by x402: terms, checks, the facilitator, settlement. Imported only where payments are on,
for the curve's libraries take a good part of a start's time and memory.
"""
