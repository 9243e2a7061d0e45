"""Webhooks. Out: endpoints, senders, deliveries. In: proved, kept, mapped by rules, then done."""
