"""Mails: texts from templates, handed to the mail server by the outbox."""
