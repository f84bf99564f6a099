"""Calls made with the published client, run in its environment: `peer_caller.py ADDRESS SCENARIO…`.

Prints one JSON value: what the scenarios returned, in their order.
"""

import json
import sys
import uuid

import angzarr_client as a
import grpc
from angzarr_client.errors import GRPCError
from angzarr_client.proto.angzarr import command_handler_pb2, projector_pb2, types_pb2
from angzarr_client.proto.examples import player_pb2, poker_types_pb2, table_pb2
from google.protobuf import wrappers_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
PREFIX = "type.googleapis.com/"


def command(client, message, root=ROOT, prefix=PREFIX, domain="player"):
    """The client's own builder for one command; COMMUTATIVE and sequence 0 are its defaults."""
    name = message.DESCRIPTOR.full_name
    return a.CommandBuilder(client, domain, root).with_command(prefix + name, message)


def registration(email="al@x"):
    return player_pb2.RegisterPlayer(display_name="Al", email=email)


def deposit(amount):
    return player_pb2.DepositFunds(amount=poker_types_pb2.Currency(amount=amount))


def plain(book) -> dict:
    """A book as JSON, with its whole cover."""
    edition = book.cover.edition.name if book.cover.HasField("edition") else None
    return {
        "domain": book.cover.domain,
        "root": book.cover.root.value.hex(),
        "edition": edition,
        "correlation_id": book.cover.correlation_id,
        "next_sequence": book.next_sequence,
        "pages": [page_of(page) for page in book.pages],
    }


def page_of(page) -> dict:
    deposited, registered = player_pb2.FundsDeposited(), player_pb2.PlayerRegistered()
    is_deposit, is_registration = page.event.Unpack(deposited), page.event.Unpack(registered)
    added = table_pb2.ChipsAdded()
    is_addition = page.event.Unpack(added)
    return {
        "sequence": page.header.sequence,
        "has_header": page.HasField("header"),
        "is_stamped": page.created_at.seconds > 0,
        "committed": page.committed,
        "type_url": page.event.type_url,
        "balance": deposited.new_balance.amount if is_deposit else None,
        "name": registered.display_name if is_registration else None,
        "stack": added.new_stack if is_addition else None,
    }


def outcome(call) -> dict:
    """What the client's caller sees: a book, or its error with code, text and details."""
    try:
        return plain(call().events)
    except GRPCError as error:
        trailers = dict(error.__cause__.trailing_metadata() or ())
        detail = trailers.get("grpc-status-details-bin")
        return {
            "code": error.code.name,
            "text": error.details,
            "kind": trailers.get("angzarr-error-kind"),
            "book": plain(types_pb2.EventBook.FromString(detail)) if detail else None,
        }


def fill(client, deposits=2):
    """A registered player with some deposits, each sent with the sequence that is next."""
    send(client, registration(), 0)
    for index in range(deposits):
        send(client, deposit(10), index + 1)


def send(client, message, sequence):
    return command(client.command_handler, message).with_sequence(sequence).execute()


def story(client):
    """Register, deposit twice."""
    messages = [registration(), deposit(5), deposit(7)]
    return [plain(send(client, message, i).events) for i, message in enumerate(messages)]


def errors(client):
    """A rejection, bad input, a crash, and a command that nobody handles."""
    handler = client.command_handler
    unknown = player_pb2.WithdrawFunds()
    return [
        outcome(command(handler, deposit(5)).execute),
        outcome(command(handler, registration("")).execute),
        outcome(command(handler, registration("crash")).execute),
        outcome(command(handler, unknown).execute),
        outcome(command(handler, deposit(5), domain="nobody").execute),
    ]


def default_stamp(client):
    """The builder's COMMUTATIVE and 0 on a stream that has moved on; then a disjoint change."""
    fill(client)
    return [
        outcome(command(client.command_handler, deposit(5)).execute),
        outcome(command(client.command_handler, player_pb2.SitOut()).with_sequence(1).execute),
    ]


def strict(client):
    fill(client)
    builder = command(client.command_handler, deposit(5)).with_sequence(1)
    return outcome(builder.with_merge_strategy(types_pb2.MERGE_STRICT).execute)


def many(client):
    """Twelve deposits after the registration."""
    fill(client, deposits=12)
    return plain(a.QueryBuilder(client.query, "player", ROOT).get_event_book())


def one_more(client):
    """What follows `many`."""
    return plain(send(client, deposit(10), 13).events)


def queries(client):
    """Every selection that the client's builder has."""
    fill(client, deposits=4)

    def query():
        return a.QueryBuilder(client.query, "player", ROOT)

    builder = command(client.command_handler, deposit(1)).with_sequence(5)
    builder.with_correlation_id("c-1").execute()
    by_id = a.QueryBuilder(client.query, "player").by_correlation_id("c-1")
    return {
        "all": plain(query().get_event_book()),
        "range": plain(query().range(3).get_event_book()),
        "range_to": plain(query().range_to(1, 2).get_event_book()),
        "as_of_sequence": plain(query().as_of_sequence(2).get_event_book()),
        "as_of_time": plain(query().as_of_time("2999-01-01T00:00:00Z").get_event_book()),
        "before": plain(query().as_of_time("1999-01-01T00:00:00Z").get_event_book()),
        "stream": [plain(book) for book in query().get_events()],
        "pages": [page_of(page) for page in query().get_pages()],
        "by_correlation_id": plain(by_id.get_event_book()),
        "unknown": plain(a.QueryBuilder(client.query, "player", uuid.uuid4()).get_event_book()),
    }


def editions(client):
    """The three spellings of main."""
    fill(client)

    def query():
        return a.QueryBuilder(client.query, "player", ROOT)

    return [
        plain(query().get_event_book()),
        plain(query().edition("").get_event_book()),
        plain(query().edition("angzarr").get_event_book()),
    ]


def short_root(client):
    cover = types_pb2.Cover(domain="player", root=types_pb2.UUID(value=b"x" * 15))
    book = command(client.command_handler, registration()).build()
    book.cover.CopyFrom(cover)
    return outcome(lambda: client.command_handler.handle(book))


def speculate(client):
    fill(client)
    request = command_handler_pb2.SpeculateCommandHandlerRequest(
        command=command(client.command_handler, deposit(100)).build()
    )
    answers = [
        plain(client.command_handler.handle_sync_speculative(request).events),
        plain(client.speculative.command_handler(request).events),
    ]
    after = a.QueryBuilder(client.query, "player", ROOT).get_event_book()
    return [*answers, plain(after)]


def every_client(client):
    """One channel for commands, queries, speculation and health; and the client for one domain."""
    channel = grpc.insecure_channel(sys.argv[1])
    bundle = a.Client(channel)
    fill(bundle)
    domain = a.DomainClient(channel)
    book = command(domain.command_handler, deposit(3)).with_sequence(3).build()
    health = health_pb2_grpc.HealthStub(channel)
    names = ["", "angzarr.CommandHandlerCoordinatorService", "aggregate:player"]
    query = a.QueryBuilder(bundle.query, "player", ROOT).build()
    found = {
        "query": plain(a.QueryClient(channel).get_events(query)[0]),
        "domain": plain(domain.execute(book).events),
    }
    request = types_pb2.CommandRequest(
        command=command(bundle.command_handler, deposit(4)).with_sequence(4).build(),
        sync_mode=types_pb2.SYNC_MODE_SIMPLE,
    )
    simple = a.CommandHandlerClient(channel).handle_command(request)
    states = [health.Check(health_pb2.HealthCheckRequest(service=name)) for name in names]
    return found | {"simple": plain(simple.events), "health": [found.status for found in states]}


def short_upcast(client):
    """The second command finds one page, and so calls the upcaster."""
    send(client, registration(), 0)
    builder = command(client.command_handler, deposit(5)).with_sequence(1)
    return [outcome(builder.execute), None]


def deposits(client):
    """A registration and deposits per root, as the next argument lists them: amount, and where they
    are wanted root, correlation_id, edition and sync_mode. Their answers, or their errors.
    """
    registered, found = set(), []
    for item in json.loads(sys.argv[3]):
        root = uuid.UUID(hex=item.get("root", ROOT.hex))
        messages = [] if root in registered else [registration()]
        registered.add(root)
        for message in (*messages, deposit(item["amount"])):
            builder = command(client.command_handler, message, root=root)
            book = builder.with_merge_strategy(types_pb2.MERGE_AGGREGATE_HANDLES).build()
            book.cover.correlation_id = item.get("correlation_id", "c-1")
            if "edition" in item and isinstance(message, player_pb2.DepositFunds):
                book.cover.edition.name = item["edition"]
            mode = item.get("sync_mode", types_pb2.SYNC_MODE_ASYNC)
            request = types_pb2.CommandRequest(command=book, sync_mode=mode)
            found.append(answered(client, request))
    return found


def answered(client, request) -> dict:
    """The response, with what followed from it, or the error."""
    try:
        response = client.command_handler.handle_command(request)
    except GRPCError as error:
        return {"code": error.code.name, "text": error.details}
    return plain(response.events) | {
        "projections": [projection_of(found) for found in response.projections],
        "cascade_errors": [found.error_message for found in response.cascade_errors],
    }


def projection_of(found) -> dict:
    count = table_pb2.ChipsAdded()
    found.projection.Unpack(count)
    return {
        "projector": found.projector,
        "sequence": found.sequence,
        "domain": found.cover.domain,
        "root": found.cover.root.value.hex(),
        "count": count.new_stack,
    }


def books(client):
    """Streams, each as domain, root and edition."""
    found = []
    for domain, root, edition in json.loads(sys.argv[3]):
        query = a.QueryBuilder(client.query, domain, uuid.UUID(hex=root))
        found.append(plain(query.edition(edition).get_event_book()))
    return found


def speculate_projector(client):
    """A projector's speculation; its error."""
    book = types_pb2.EventBook()
    book.cover.domain, book.cover.root.value = "player", ROOT.bytes
    page = book.pages.add()
    page.event.Pack(player_pb2.FundsDeposited())
    try:
        return plain_projection(client, book)
    except GRPCError as error:
        return {"code": error.code.name, "text": error.details}


def plain_projection(client, book) -> dict:
    request = projector_pb2.SpeculateProjectorRequest(events=book)
    return projection_of(client.speculative.projector(request))


def prefixes(client):
    """A command to our own in-process handler, under any prefix or none."""
    value = wrappers_pb2.StringValue(value="hi")
    found = []
    for index, prefix in enumerate(("type.googleapis.com/", "x.example/deep/", "")):
        builder = command(client.command_handler, value, prefix=prefix, domain="note")
        found.append(plain(builder.with_sequence(index).execute().events))
    return found


def tls(_client):
    """The client over TLS: the address, then the authority's file."""
    with open(sys.argv[3], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = (("grpc.ssl_target_name_override", "localhost"),)
    client = a.Client(grpc.secure_channel(sys.argv[1], credentials, options))
    value = wrappers_pb2.StringValue(value="hi")
    return plain(command(client.command_handler, value, domain="note").execute().events)


def main() -> None:
    client = a.Client.connect(sys.argv[1])
    json.dump(globals()[sys.argv[2]](client), sys.stdout)


if __name__ == "__main__":
    main()
