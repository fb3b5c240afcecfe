"""The clock of the ICE restarts of one peer connection on asyncio."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from webrtc_bridge.config import RestartConfig
from webrtc_bridge.offer_answer import OfferAnswer
from webrtc_bridge.restarts import Due, Restarts
from webrtc_bridge.sdp import SdpType

__all__ = ["RestartTimer"]


class RestartTimer:
    """Runs :class:`~webrtc_bridge.restarts.Restarts`: each method is one of it at the time of the call."""

    def __init__(
        self,
        config: RestartConfig,
        counters: Counter[str],
        offers: OfferAnswer,
        ask: Callable[[], object],
        roll_back: Callable[[], object],
    ) -> None:
        """``ask`` is called when an offer is due, ``roll_back`` when it was taken back; ``offers`` says whether one may
        be made."""
        self._loop = asyncio.get_running_loop()
        begins = offers.side is SdpType.OFFER
        self._restarts = Restarts(config, counters, begins=begins, now=self._loop.time())
        self._offers = offers
        self._ask = ask
        self._roll_back = roll_back
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether the next offer of ours restarts ICE."""
        return self._restarts.is_wanted

    def want(self) -> None:
        """The application wants a restart."""
        self._restarts.want(self._loop.time())
        self._arm()

    def suggest(self) -> None:
        """The ICE session wants a restart."""
        self._restarts.suggest(self._loop.time())
        self._arm()

    def offer_again(self) -> None:
        """Our offer had to give way to one that restarted nothing."""
        self._restarts.offer_again(self._loop.time())
        self._arm()

    def healed(self) -> None:
        """The path works again."""
        self._restarts.healed()
        self._arm()

    def done(self) -> None:
        """ICE was restarted, or there is nothing to restart any more."""
        self._restarts.done()
        self._arm()

    def admits(self) -> bool:
        """Whether one more restart that the peer begins may be followed."""
        return self._restarts.admits(self._loop.time())

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        at = self._restarts.next_timeout()
        if at is not None:
            self._handle = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._handle = None
        due = self._restarts.handle_timeout(self._loop.time(), may_offer=self._offers.may_offer)
        self._arm()
        if due is Due.TAKE_BACK:
            self._offers.take_back()
            self._roll_back()
        elif due is Due.OFFER:
            self._ask()
