"""The device edge and the admin edge: sockets, TLS and HTTP; decisions are made elsewhere."""
