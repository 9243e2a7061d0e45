"""What a real server counts of real boots, as Prometheus and the storm view see it."""

import json

from house import T46S, VVX, ask, soon
from prometheus_client.parser import text_string_to_metric_families


def samples(house):
    status, _, body = house.get("/metrics", None, kind="admin")
    assert status == 200
    return {
        (sample.name.removeprefix("provisioner_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_boots_files_and_renders_are_counted_by_vendor(house, vvx, t46s):
    before = samples(house)
    with house.connection(vvx) as phone:
        _, headers, _ = ask(phone, f"/{VVX}-user.cfg")
        assert ask(phone, f"/{VVX}-user.cfg", If_None_Match=headers["etag"])[0] == 304
        assert ask(phone, f"/{VVX}-license.cfg")[0] == 404
        assert ask(phone, "/nothing-like-it.bin")[0] == 404
    with house.connection(t46s) as phone:
        assert ask(phone, f"/{T46S}.cfg")[0] == 200
        assert ask(phone, f"/{VVX}.cfg")[0] in (403, 404)

    def more():
        found = samples(house)
        changed = {key: value - before.get(key, 0) for key, value in found.items()}
        return changed if changed.get(("boots_total", "yealink")) else {}

    found = soon(more)
    assert found["boots_total", "poly"] == 2
    assert found["boots_total", "yealink"] == 1
    assert found["files_total", "200", "device", "poly"] == 1
    assert found["files_total", "304", "device", "poly"] == 1
    assert found["files_total", "404", "license", "poly"] == 1
    assert found["files_total", "200", "device", "yealink"] == 1
    assert sum(value for (name, *_), value in found.items() if name == "files_total") == 4  # no stranger's path
    assert found["renders_total", "done", "yealink"] == 1
    assert found["renders_total", "absent", "poly"] == 1
    assert found["render_seconds_count",] == found["renders_total", "done", "poly"] + 2
    assert found["gate_delay_seconds_count",] >= 2
    assert found["worker_cpu_seconds_total",] > 0


def test_the_storm_view_and_the_census_are_there(house):
    def counted():
        return samples(house).get(("devices", "assigned", "poly"))

    assert soon(counted) == 3
    status, headers, body = house.get("/storm", None, kind="admin")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b"<strong>Calm.</strong>" in body
    found = soon(lambda: json.loads(house.get("/storm.json", None, kind="admin")[2])["samples"])
    assert found[-1]["storm"] is False
