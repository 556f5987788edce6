"""A frame says which protocol it is of, and in which version."""

from __future__ import annotations

import pytest

from daemon.protocols.control import Order, decode_order, encode
from daemon.system.errors import OtherVersion, ProtocolViolation


def test_another_version_of_the_same_protocol_is_told_as_such() -> None:
    frame = encode(Order(id="1", name="status", who="anna"))
    with pytest.raises(OtherVersion, match="speaks version 9 of the protocol, this one speaks 1; install the same"):
        decode_order(frame[:3] + b"\x09" + frame[4:])
    for other in (b"", b"LM", b"LMX\x01" + frame[4:]):
        with pytest.raises(ProtocolViolation) as raised:
            decode_order(other)
        assert not isinstance(raised.value, OtherVersion)
