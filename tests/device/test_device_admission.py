"""Admission from outside: a phone in a boot loop waits, its neighbour does not; a storm puts off what can wait."""

import asyncio
import contextlib
import random
import re
import socket
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from house import OTHER_VVX, T46S, VVX, House, administer, ask, soon, wrapped

from provisioner import app, settings
from provisioner.activation_offer import Offers
from provisioner.admission import Admission
from provisioner.delivery import Delivery
from provisioner.events import EventLog
from provisioner.firmware import FirmwareShelf
from provisioner.gate import Storm
from provisioner.http.device import DeviceEdge
from provisioner.http.listener import Listener, http_limits
from provisioner.http.server import QuietServer
from provisioner.identity import Identifier
from provisioner.model import ListenerKind, Mac
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.store.tokens import TokenBook
from provisioner.store.uploads import UploadShelf
from provisioner.store.views import Views

VVX_FILE, OTHER_FILE, T46S_FILE = f"/{VVX}-user.cfg", f"/{OTHER_VVX}-user.cfg", f"/{T46S}.cfg"
IMAGE = "3111-48450-001.sip.ld"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made = House.build(tmp_path_factory.mktemp("admission"))

    async def fill():
        await made.add(VVX, "poly", "VVX 411", "2001")
        await made.add(OTHER_VVX, "poly", "VVX 411", "2004")
        await made.add(T46S, "yealink", "T46S", "2002")

    asyncio.run(fill())
    return made


@pytest.fixture
def serving(built, tmp_path):
    """A copy of the installation with settings of the test's own, serving until the test is over."""
    with contextlib.ExitStack() as stack:

        def start(**chosen):
            house = built.copy(tmp_path, **chosen)
            stack.callback(house.stop)
            house.start()
            return house

        yield start


IMAGE_TESTS = [Mac(f"0004f2000{number:03x}") for number in range(0x100, 0x106)]


@pytest.fixture(scope="module")
def images(built, tmp_path_factory):
    """A server that gives each phone one image and then keeps it waiting; it, and a phone for each test."""
    house = built.copy(
        tmp_path_factory.mktemp("images"),
        admission_mode="enforce",
        admission_firmware=1,
        admission_firmware_burst=1,
        admission_hold=0.6,
    )

    async def fill():
        for number, mac in enumerate(IMAGE_TESTS):
            await house.add(mac, "poly", "VVX 411", f"{3000 + number}")

    asyncio.run(fill())
    (house.data / "firmware" / "poly").mkdir(parents=True, exist_ok=True)
    (house.data / "firmware" / "poly" / IMAGE).write_bytes(b"image" * 1000)
    house.start()
    yield house, iter(IMAGE_TESTS)
    house.stop()


def metrics(house):
    """Admissions by label."""
    with urllib.request.urlopen(f"http://127.0.0.1:{house.ports['admin']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        if line.startswith("provisioner_admissions_total{"):
            name, _, value = line.rpartition(" ")
            labels = dict(re.findall(r'(\w+)="(\w*)"', name))
            found["_".join(labels[one] for one in ("stage", "reason", "class", "outcome"))] = float(value)
    return found


def timed(house, path, certificate, **headers):
    begun = time.monotonic()
    return house.get(path, certificate, **headers)[0], time.monotonic() - begun


@pytest.mark.slow
def test_a_phone_in_a_boot_loop_waits_and_its_neighbour_does_not(serving):
    house = serving(
        admission_mode="enforce",
        admission_requests=6,
        admission_requests_burst=4,
        admission_files=2,
        admission_hold=2.5,
    )
    t46s, other = house.certificate("yealink", T46S), house.certificate("poly", OTHER_VVX)
    looping = [timed(house, T46S_FILE, t46s) for _ in range(6)]
    assert [status for status, _ in looping] == [200] * 6, "its family does not gain by a refusal"
    assert max(seconds for _, seconds in looping[:4]) < 2
    assert min(seconds for _, seconds in looping[4:]) > 2.4
    boots = [timed(house, OTHER_FILE, other) for _ in range(4)]
    assert [status for status, _ in boots] == [200] * 4
    assert max(seconds for _, seconds in boots) < 2
    held = lambda: sum(value for label, value in metrics(house).items() if label.endswith("_held"))  # noqa: E731  # short
    assert soon(lambda: held() == 2, 5), metrics(house)


def test_up_to_date_phones_of_a_family_that_profits_get_503_and_when_to_come_again(serving):
    house = serving(
        admission_mode="enforce",
        admission_requests=1,
        admission_requests_burst=6,
        admission_files=2,
        admission_hold=0.5,
    )
    vvx, t46s = house.certificate("poly", VVX), house.certificate("yealink", T46S)
    for path, certificate in ((VVX_FILE, vvx), (T46S_FILE, t46s)):
        assert house.get(path, certificate)[0] == 200
    time.sleep(1.6)  # until what they have fetched is written
    with house.connection(vvx) as phone:
        said = [ask(phone, VVX_FILE) for _ in range(7)]
        assert [status for status, _, _ in said] == [200] * 5 + [503] * 2
        for _, headers, body in said[5:]:
            assert 15 <= int(headers["retry-after"]) <= 450
            assert body == b""
    assert {timed(house, T46S_FILE, t46s)[0] for _ in range(7)} == {200}, "it would ask again at once"
    labels = metrics(house) if soon(lambda: "request_device_p2_refused" in metrics(house), 5) else {}
    assert labels["request_device_p2_refused"] == 2
    assert labels["request_ok_p0_admitted"] == 2


def test_observing_changes_nothing_and_counts_what_it_would_have_held(serving):
    house = serving(admission_requests=1, admission_requests_burst=2, admission_files=1)
    vvx = house.certificate("poly", VVX)
    with house.connection(vvx) as phone:
        begun = time.monotonic()
        assert [ask(phone, VVX_FILE)[0] for _ in range(20)] == [200] * 20
        assert time.monotonic() - begun < 2
    assert soon(lambda: metrics(house).get("request_device_p0_observed", 0) == 18, 5), metrics(house)


def test_a_phone_that_is_revoked_while_it_waits_gets_nothing(serving):
    house = serving(
        admission_mode="enforce",
        admission_requests=1,
        admission_requests_burst=1,
        admission_files=1,
        admission_hold=3,
    )
    t46s = house.certificate("yealink", T46S)
    assert house.get(T46S_FILE, t46s)[0] == 200
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(timed, house, T46S_FILE, t46s)
        time.sleep(0.5)
        administer(house, lambda fleet: fleet.revoke_device(Mac(T46S)))
        status, seconds = waiting.result(10)
    assert seconds > 2.9
    assert status == 404


def test_full_handshakes_are_limited_and_resumed_sessions_are_not(serving):
    house = serving(
        admission_mode="enforce",
        admission_handshakes=1,
        admission_handshakes_burst=2,
        admission_files=1,
        admission_hold=1,
    )
    context = house.context(house.certificate("yealink", T46S))
    for _ in range(2):
        assert timed(house, T46S_FILE, house.certificate("yealink", T46S))[1] < 0.9
    assert timed(house, T46S_FILE, house.certificate("yealink", T46S))[1] > 0.9
    request = f"GET {T46S_FILE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    session = None
    for number in range(3):
        begun = time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as phone,
        ):
            phone.sendall(request)
            assert phone.recv(65536).startswith(b"HTTP/1.1 200")
            session = phone.session
            assert phone.session_reused is (number > 0)
        assert (time.monotonic() - begun > 0.9) is (number == 0)


def test_a_storm_puts_off_firmware_logs_and_phone_books_until_it_is_over(built, tmp_path):
    """The worker's own parts over a real TLS listener, with a storm that is switched by hand."""
    house = built.copy(tmp_path)
    (house.data / "firmware" / "poly").mkdir(parents=True, exist_ok=True)
    (house.data / "firmware" / "poly" / IMAGE).write_bytes(b"image" * 1000)
    vvx = house.certificate("poly", VVX)

    async def scenario():
        async with worker(house) as (storm, fetch, recorder, _):
            assert (await fetch(f"/{IMAGE}", vvx))[0] == 200, "calm: to a device without configuration"
            assert (await fetch(VVX_FILE, vvx))[0] == 200
            await recorder.flush()
            storm.on = True
            assert (await fetch(VVX_FILE, vvx))[0] == 200, "a configuration is never put off"
            assert (await fetch(f"/{IMAGE}", vvx))[0] == 404
            assert (await fetch(f"/{IMAGE}", vvx, Range="bytes=1000-"))[0] == 206, "what has begun goes on"
            assert (await fetch(f"/{VVX}-app.log", vvx, method="PUT", body=b"log"))[0] == 404
            assert (await fetch(f"/{IMAGE}", house.certificate("poly", OTHER_VVX)))[0] == 200, "it cannot ring yet"
            fresh = {"Range": "bytes=1-4999"}
            assert (await fetch(f"/{IMAGE}", vvx, **fresh))[0] == 404, "it has had more than the image by now"
            storm.on = False
            assert (await fetch(f"/{IMAGE}", vvx))[0] == 200
            assert (await fetch(f"/{VVX}-app.log", vvx, method="PUT", body=b"log"))[0] == 201

    asyncio.run(scenario())


def test_a_device_is_back_when_a_boot_of_it_was_served(built, tmp_path):
    house = built.copy(tmp_path)
    vvx, t46s = house.certificate("poly", VVX), house.certificate("yealink", T46S)

    async def scenario():
        async with worker(house) as (storm, fetch, _, admission):
            assert (await fetch(VVX_FILE, vvx))[0] == 200
            storm.on, storm.since = True, time.monotonic()
            assert (await fetch("/000000000000.cfg", vvx))[0] == 200
            assert (await fetch(f"/{VVX}-license.cfg", vvx))[0] == 404
            assert (await fetch(OTHER_FILE, vvx))[0] in (403, 404)
            assert admission.back == 0, "it has only begun"
            for _ in range(2):
                assert (await fetch(VVX_FILE, vvx))[0] == 200
            assert admission.back == 1
            etag = (await fetch(T46S_FILE, t46s))[1]["etag"]
            assert (await fetch(T46S_FILE, t46s, If_None_Match=etag))[0] == 304
            assert admission.back == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=1-"},
        {"Range": "bytes=1-,2-"},
        {"Range": "bytes=-4999"},
        {"Range": "bytes=1-2,3-4"},
        {"Range": "bytes=1-", "If-Range": '"another"'},
    ],
    ids=lambda one: "; ".join(one.values()),
)
def test_nobody_fetches_an_image_again_and_again_in_what_he_calls_later_parts(images, headers):
    house, phones = images
    vvx = house.certificate("poly", next(phones))
    said = [timed(house, f"/{IMAGE}", vvx, **headers) for _ in range(4)]
    assert {status for status, _ in said} <= {200, 206}
    assert sum(seconds > 0.5 for _, seconds in said) >= 2, said


def test_parts_of_a_transfer_that_has_begun_are_no_beginnings(images):
    house, phones = images
    vvx = house.certificate("poly", next(phones))
    said = [timed(house, f"/{IMAGE}", vvx, Range=f"bytes={at}-{at + 999}") for at in range(0, 5000, 1000)]
    assert [status for status, _ in said] == [206] * 5
    assert max(seconds for _, seconds in said) < 0.5
    assert timed(house, f"/{IMAGE}", vvx)[1] > 0.5
    with house.connection(house.certificate("poly", OTHER_VVX)) as phone:
        assert ask(phone, f"/{IMAGE}", Range="bytes=9000-")[0] == 416, "which is no part of anything"


def test_one_device_does_not_fill_the_memory_for_uploads(serving):
    house = serving(upload_budget=2 * 1024 * 1024)
    vvx, name = house.certificate("poly", VVX), f"/{VVX}-app.log"
    head = f"PUT {name} HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\nx".encode()
    with contextlib.ExitStack() as held:
        for _ in range(2):
            held.enter_context(wrapped(house, house.context(vvx))).sendall(head)
        time.sleep(0.3)
        status, headers, _ = house.get(name, vvx, method="PUT", body=b"log")
        assert (status, int(headers["retry-after"]) > 0) == (503, True)
        other = house.certificate("poly", OTHER_VVX)
        assert house.get(f"/{OTHER_VVX}-app.log", other, method="PUT", body=b"log")[0] == 201, "it cannot ring yet"
    assert soon(lambda: house.get(name, vvx, method="PUT", body=b"log")[0] == 201, 5)


@contextlib.asynccontextmanager
async def worker(house):
    """What a worker serves devices with, without its processes."""
    chosen = settings.load(house.data, {})
    equipment = app.prepare(chosen)
    sock = socket.create_server(("127.0.0.1", 0))
    house.ports = {"device": sock.getsockname()[1]}

    def count(_metric, _label):
        pass

    async with Store.of(chosen) as store:
        views, recorder, storm = Views(store), Recorder(store, chosen, count), Storm(1, 1, 1)
        await views.open()
        models = [model for driver in equipment.drivers.values() for model in driver.manifest.models.values()]
        delivery = Delivery(
            drivers=equipment.drivers,
            views=views,
            recorder=recorder,
            tokens=TokenBook(store),
            uploads=UploadShelf(store),
            firmware=FirmwareShelf(house.data / "firmware"),
            digest=equipment.digest,
            settings=chosen,
            base_urls={ListenerKind.DEVICE: f"https://localhost:{house.ports['device']}/"},
            admission=Admission(chosen, storm, count, random.uniform, models),
            offers=Offers(chosen, lambda: bytes(32)),
        )
        rules = {name: driver.identify for name, driver in equipment.drivers.items()}
        edge = DeviceEdge(delivery, Identifier(equipment.trust.anchors, rules, 100), EventLog(recorder.event), count)
        server = QuietServer(edge.handler(ListenerKind.DEVICE), count, eager=True, **http_limits(chosen))
        context = equipment.contexts[ListenerKind.DEVICE]
        listener = Listener(ListenerKind.DEVICE, sock, context, server, chosen, count)
        listener.start()

        async def fetch(path, certificate, **options):
            return await asyncio.to_thread(house.get, path, certificate, **options)

        yield storm, fetch, recorder, delivery.admission
        await listener.drain(0.2)
        await views.close()
        sock.close()
