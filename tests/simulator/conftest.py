"""Certificates of a make-believe factory and of the server, real and made once."""

from __future__ import annotations

import pytest
import trustme
from scripted_server import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("pki")
    public, factory, rogue = trustme.CA(), trustme.CA(), trustme.CA()
    for name, authority in (("leaf", factory), ("stranger", rogue)):
        leaf = authority.issue_cert(common_name="0004F2AABBCC", organization_name="Polycom Inc.")
        leaf.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        for pem in leaf.cert_chain_pems:
            pem.write_to_path(str(folder / f"{name}.pem"), append=True)
    public.cert_pem.write_to_path(str(folder / "server-ca.pem"))
    return Certificates(
        folder / "server-ca.pem",
        folder / "leaf.pem",
        folder / "leaf.key",
        folder / "stranger.pem",
        folder / "stranger.key",
        factory,
        public.issue_cert("127.0.0.1", "localhost"),
    )
