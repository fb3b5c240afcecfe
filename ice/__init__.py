"""Floor 2: ICE (RFC 8445, 8838, 8839, 7675)."""

from ice.candidate import Candidate, CandidateType, TcpType
from ice.config import IceConfig
from ice.description import Description, EndOfCandidates
from ice.errors import FailureReason, IceError
from ice.events import State
from ice.pair import CandidatePair, PairState
from ice.roles import Role

__all__ = [
    "Candidate",
    "CandidatePair",
    "CandidateType",
    "Description",
    "EndOfCandidates",
    "FailureReason",
    "IceConfig",
    "IceError",
    "PairState",
    "Role",
    "State",
    "TcpType",
]
