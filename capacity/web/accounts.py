"""HTTP of the billing desk: accounts, quotes, purchases, the scheduled change, the ledger."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from capacity.billing import ledger
from capacity.billing.desk import Desk
from capacity.domain import ids
from capacity.domain.ids import is_account
from capacity.errors import ErrorCode, Refused
from capacity.protocol.desk_bodies import Account, AccountWish, PurchaseAnswer, PurchaseWish, QuoteAnswer, QuoteWish
from capacity.protocol.tokens import Claims
from capacity.store.desk import Known
from capacity.web.account_answers import (
    Ledger,
    account_of_desk,
    account_of_hubs,
    order,
    purchase_answer,
    quote_answer,
)
from capacity.web.answers import answer
from capacity.web.auth import KeyRing, bearer, require_account
from capacity.web.bodies import decode, read_body
from capacity.web.operations import Answer, Operation, query_of

ACCOUNT = "/v1/accounts/{account}"
BODY_BYTES_MAX = 16 * 1024
KEY_HEADER = "idempotency-key"
LEDGER_ENTRIES, LEDGER_ENTRIES_MAX = 500, 5000
CSV = "text/csv"
CSV_MEDIA_TYPE = f"{CSV}; charset=utf-8"

_REFUSALS = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.TOKEN_EXPIRED,
    ErrorCode.INVALID_ID,
    ErrorCode.FORBIDDEN,
    ErrorCode.UNAVAILABLE,
)
_OF_BODY = (ErrorCode.MALFORMED, ErrorCode.TOO_LARGE, ErrorCode.REQUEST_TIMEOUT)
_MANAGED = (ErrorCode.UNKNOWN_ACCOUNT, ErrorCode.ACCOUNT_NOT_MANAGED)


class LedgerQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries are asked for, and how."""

    after: Annotated[str, msgspec.Meta(pattern=f"^{ids.ENTRY}$", description="The next of the page before.")] | None = (
        None
    )
    limit: Annotated[int, msgspec.Meta(ge=1, le=LEDGER_ENTRIES_MAX)] = LEDGER_ENTRIES
    format: Literal["json", "csv"] | None = None


class AccountApi:
    """The handlers. Each checks the token, the id, whether the one may act on the other, then the body, and asks the desk."""

    def __init__(self, desk: Desk, keyring: KeyRing) -> None:
        self._desk = desk
        self._keyring = keyring

    def operations(self) -> list[Operation]:
        """Return the table."""
        of_quote = (
            ErrorCode.UNKNOWN_PLAN,
            ErrorCode.PLAN_NOT_ON_SALE,
            ErrorCode.NO_CHANGE,
            ErrorCode.TRIAL_NOT_AVAILABLE,
            ErrorCode.CURRENCY_MISMATCH,
            ErrorCode.ADD_ON_NOT_AVAILABLE,
            ErrorCode.ADD_ON_WHOLE_BATCH,
            ErrorCode.MIXED_CHANGE,
            ErrorCode.PAYMENT_PENDING,
            ErrorCode.TOO_MANY_REQUESTS,
        )
        of_purchase = (
            ErrorCode.IDEMPOTENCY_KEY_MISSING,
            ErrorCode.IDEMPOTENCY_KEY_REUSED,
            ErrorCode.UNKNOWN_QUOTE,
            ErrorCode.QUOTE_STALE,
            ErrorCode.PAYMENT_DECLINED,
            ErrorCode.TOO_MANY_REQUESTS,
        )
        of_create = (
            ErrorCode.UNKNOWN_PLAN,
            ErrorCode.CURRENCY_MISMATCH,
            ErrorCode.INVALID_AMOUNT,
            ErrorCode.INVALID_PERIOD,
            ErrorCode.ACCOUNT_EXISTS,
            ErrorCode.PAYMENT_PENDING,
        )
        account = Answer(200, "The account.", Account)
        return [
            Operation(
                "GET", ACCOUNT, "getAccount", "The account", "token", self._get,
                (account,), (*_REFUSALS, ErrorCode.UNKNOWN_ACCOUNT),
            ),
            Operation(
                "PUT", ACCOUNT, "putAccount", "Create or import the account", "token", self._put,
                (account, Answer(202, "It is written, and will be in force soon.", Account)),
                (*_REFUSALS, *_OF_BODY, *of_create), AccountWish,
            ),
            Operation(
                "DELETE", ACCOUNT, "deleteAccount", "Let the account go: events manage it from now on", "token",
                self._release, (
                    Answer(200, "The account, managed by events.", Account),
                    Answer(202, "It is written, and will be in force soon.", Account),
                ), (*_REFUSALS, *_MANAGED, ErrorCode.PAYMENT_PENDING),
            ),
            Operation(
                "DELETE", f"{ACCOUNT}/payment", "deletePayment", "Give up a payment that waits for its owner", "token",
                self._give_up, (account,),
                (*_REFUSALS, *_MANAGED, ErrorCode.PAYMENT_PENDING, ErrorCode.TOO_MANY_REQUESTS),
            ),
            Operation(
                "POST", f"{ACCOUNT}/quotes", "createQuote", "What a change means and costs", "token", self._quote,
                (Answer(200, "The quote.", QuoteAnswer),), (*_REFUSALS, *_OF_BODY, *_MANAGED, *of_quote), QuoteWish,
            ),
            Operation(
                "POST", f"{ACCOUNT}/purchases", "createPurchase", "Buy what a quote says", "token", self._purchase,
                (
                    Answer(200, "It is bought, and in force.", PurchaseAnswer),
                    Answer(202, "It is bought and will be in force soon, or its payment is under way.", PurchaseAnswer),
                ),
                (*_REFUSALS, *_OF_BODY, *_MANAGED, *of_purchase), PurchaseWish, headers=(KEY_HEADER,),
            ),
            Operation(
                "DELETE", f"{ACCOUNT}/scheduled-change", "deleteScheduledChange", "Take the scheduled change back",
                "token", self._take_back, (account,),
                (*_REFUSALS, *_MANAGED, ErrorCode.PAYMENT_PENDING, ErrorCode.TOO_MANY_REQUESTS),
            ),
            Operation(
                "GET", f"{ACCOUNT}/ledger", "getLedger", "Everything that happened to the account", "token",
                self._ledger,
                (
                    Answer(200, "Entries, in order; as CSV where that is asked for.", Ledger),
                    Answer(200, "The same.", media_type=CSV_MEDIA_TYPE),
                ),
                (*_REFUSALS, *_MANAGED, ErrorCode.MALFORMED), query=LedgerQuery,
            ),
        ]  # fmt: skip

    async def _get(self, request: Request) -> Response:
        account, _ = self._account(request)
        found = await self._desk.account(account)
        if found is not None:
            return answer(account_of_desk(self._desk, found))
        known = await self._desk.store.known(account)
        if known is None:
            raise Refused(ErrorCode.UNKNOWN_ACCOUNT)
        return answer(account_of_hubs(account, known))

    async def _put(self, request: Request) -> Response:
        account, claims = self._service(request)
        wish = decode(await read_body(request, bytes_max=BODY_BYTES_MAX), AccountWish)
        found = await self._desk.register.create(account, order(wish), _by(claims))
        in_force = await self._desk.in_force(account, found.version)
        return answer(account_of_desk(self._desk, found), 200 if in_force else 202)

    async def _quote(self, request: Request) -> Response:
        account, claims = self._account(request)
        wish = decode(await read_body(request, bytes_max=BODY_BYTES_MAX), QuoteWish)
        quote = await self._desk.quote(account, wish.plan, wish.concurrent_sessions, _by(claims))
        return answer(quote_answer(quote))

    async def _purchase(self, request: Request) -> Response:
        account, claims = self._account(request)
        given = request.headers.getlist(KEY_HEADER)
        if len(given) != 1 or re.fullmatch(r"[\x20-\x7e]{1,255}", given[0]) is None:
            raise Refused(ErrorCode.IDEMPOTENCY_KEY_MISSING)
        wish = decode(await read_body(request, bytes_max=BODY_BYTES_MAX), PurchaseWish)
        bought = await self._desk.purchase(account, wish.quote, given[0], wish.payment_method, _by(claims))
        if bought.status == "payment_declined":
            raise Refused(ErrorCode.PAYMENT_DECLINED, bought.detail)
        in_force = bought.version is not None and await self._desk.in_force(account, bought.version)
        return answer(purchase_answer(bought), 200 if in_force else 202)

    async def _take_back(self, request: Request) -> Response:
        account, claims = self._account(request)
        return answer(account_of_desk(self._desk, await self._desk.take_back(account, _by(claims))))

    async def _give_up(self, request: Request) -> Response:
        account, claims = self._account(request)
        return answer(account_of_desk(self._desk, await self._desk.give_up_payment(account, _by(claims))))

    async def _release(self, request: Request) -> Response:
        account, claims = self._service(request)
        left = await self._desk.register.release(account, _by(claims))
        in_force = await self._desk.in_force(account, None)
        known = await self._desk.store.known(account)
        if known is None or known.managed:  # the hubs have not heard of it yet
            had = left.subscription
            known = Known(had.plan.id, had.seats, had.concurrent_sessions, 0, False, left.version)
        return answer(account_of_hubs(account, known), 200 if in_force else 202)

    async def _ledger(self, request: Request) -> Response:
        account, _ = self._account(request)
        query = query_of(request, LedgerQuery)
        entries = await self._desk.ledger(account, after=query.after, count=query.limit)
        following = entries[-1].id if len(entries) == query.limit else None
        wants_csv = request.headers.get("accept", "").partition(";")[0].strip() == CSV
        if query.format == "csv" or (query.format is None and wants_csv):
            headers = {"Link": f'<?format=csv&limit={query.limit}&after={following}>; rel="next"'} if following else {}
            return Response(ledger.to_csv(entries), media_type=CSV_MEDIA_TYPE, headers=headers)
        return answer(Ledger(entries, following))

    def _service(self, request: Request) -> tuple[str, Claims]:
        """The account of the path and which service asks."""
        account, claims = self._account(request)
        if claims.role != "service":
            raise Refused(ErrorCode.FORBIDDEN, "Only a service may bring an account to the desk, or let it go.")
        return account, claims

    def _account(self, request: Request) -> tuple[str, Claims]:
        """The account of the path and who asks, after all checks that need no store."""
        claims = bearer(request, self._keyring)
        account = request.path_params["account"]
        if not is_account(account):
            raise Refused(ErrorCode.INVALID_ID)
        require_account(claims, account)
        return account, claims


def _by(claims: Claims) -> str:
    """Who asked, as it stands in the ledger."""
    return f"{claims.role}:{claims.participant}"
