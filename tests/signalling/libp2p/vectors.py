"""The worked bytes of the libp2p specifications that several tests share."""

from __future__ import annotations

from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.peer_id import PeerId

SEED = bytes.fromhex("7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d")
PUBLIC_KEY = bytes.fromhex("080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
BASE58 = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
CID = "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6"

KEY = PrivateKey(SEED)
PEER = PeerId.from_public_key(KEY.public_key)
