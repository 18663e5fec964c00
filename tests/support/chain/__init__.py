"""A chain in this process with a dollar, Permit2 and the proxies of x402 at their real addresses, a
JSON-RPC endpoint before it, and the facilitator of the x402 package. The contracts are our own, see
contracts/.
"""
