"""Use-cases of activation codes: made, sent, keyed in, bound, swept away."""
