"""What answers say of their completeness."""
import json
import re
import time

from harness import fetch, wait_until

PAGE = "requests_total 7\n"


def ask(federation, path, **parameters):
    query = "&".join(f"{key}={value}" for key, value in parameters.items())
    code, text = fetch(f"{federation.top.url}/api/v1/{path}?{query}")
    assert code == 200, text
    return json.loads(text)


def cover(federation, start, end, datacenter="dc1"):
    """The datacenter's part of the coverage of an answer; and its warnings."""
    answer = ask(federation, "query_range", query="up", start=start, end=end, step=1,
                 lookback_delta="1ms")
    (account,) = [account for account in answer["coverage"]["datacenters"] if account["datacenter"] == datacenter]
    return account, answer.get("warnings", [])


def told_through(federation, datacenter="dc1"):
    """Seconds."""
    accounts = ask(federation, "query", query="up")["coverage"]["datacenters"]
    through = [account["completeThrough"] for account in accounts if account["datacenter"] == datacenter]
    return through[0] / 1000 if through else 0


def wait_told(federation, seconds):
    wait_until(lambda: told_through(federation) >= seconds, what=f"all sources have told up to {seconds}")


def whole_seconds_from_now():
    return int(time.time()) + 2


def build(federation, exporter):
    made = [exporter({"/metrics": PAGE}) for _ in range(4)]
    federation.add_global()
    primary = federation.add_primary()
    racks = [federation.add_secondary(primary, rack, [
        {"job_name": "app", "static_configs": [{"targets": [page.target for page in made[2 * rack - 2:2 * rack]]}]}])
        for rack in (1, 2)]
    federation.start()
    wait_until(lambda: federation.value("count(up == 1)") == 4, what="four targets up")
    return primary, racks, made


def test_a_killed_secondary_leaves_a_gap(federation, exporter):
    _, racks, _ = build(federation, exporter)
    start = whole_seconds_from_now()
    wait_told(federation, start + 2)
    account, warnings = cover(federation, start, start + 2)
    assert account["complete"] and account["gaps"] == [] and warnings == []
    assert (account["sources"], account["targetsExpected"], account["targetsAnswered"]) == (2, 4, 4)

    racks[0].kill()
    killed = time.time()
    time.sleep(4)
    racks[0].start()
    end = whole_seconds_from_now() + 2
    wait_told(federation, end)

    account, warnings = cover(federation, start, end)
    (gap,) = account["gaps"]
    assert gap["source"] == "rack-1" and gap["reason"] == "silent"
    assert gap["end"] - gap["start"] >= 3000 and abs(gap["start"] / 1000 - killed) < 3
    assert not account["complete"] and account["restarts"] == 1
    assert account["targetsAnswered"] < account["targetsExpected"] == 4
    assert account["targetsAnsweredLeast"] == 2
    (warning,) = warnings
    assert warning.startswith("incomplete: dc1: parts are missing of rack-1, between "), warning

    # It outlives the global, killed or stopped, whose file has it when the log has not.
    for end_of_it in (federation.top.kill, federation.top.stop):
        end_of_it()
        federation.top.start()
        again, _ = cover(federation, start, end)
        assert again["gaps"] == [gap] and again["sources"] == 2, again

    sources = ask(federation, "status/coverage", start=start, end=end)["data"]["sources"]
    assert [source["source"] for source in sources] == ["rack-1", "rack-2"]
    assert [source["gapCount"] for source in sources] == [1, 0]
    assert sources[0]["gaps"] == [{key: gap[key] for key in ("start", "end", "reason")}]
    assert ask(federation, "status/coverage", start=start, end=end, datacenter="dc2")["data"]["sources"] == []


def test_a_target_that_fails_is_no_gap(federation, exporter):
    _, _, made = build(federation, exporter)
    made[0].close()
    start = whole_seconds_from_now()
    wait_told(federation, start + 3)
    account, warnings = cover(federation, start, start + 3)
    assert account["targetsExpected"] == 4 and account["targetsAnswered"] == 3
    assert account["targetsFailed"] == {"connect": 1}
    assert account["complete"] and warnings == []


def test_a_cut_primary_is_filled_in(federation, exporter):
    primary, _, _ = build(federation, exporter)
    primary.stop()
    start = whole_seconds_from_now()
    time.sleep(start + 4 - time.time())
    assert told_through(federation) < start  # what is not here is not said to be
    primary.start()
    wait_told(federation, start + 8)
    wait_until(lambda: cover(federation, start, start + 8)[0]["complete"], what="the backlog is here")
    account, warnings = cover(federation, start, start + 8)
    assert account["gaps"] == [] and account["targetsAnswered"] == 4 and warnings == []


def test_only_what_a_query_touches(federation, exporter):
    page = exporter({"/metrics": PAGE})
    federation.add_global()
    for number, datacenter in enumerate(("dc1", "dc2"), 1):
        federation.add_secondary(federation.add_primary(datacenter, number), 1, [
            {"job_name": "app", "static_configs": [{"targets": [page.target]}]}])
    federation.start()
    wait_until(lambda: federation.value("count(up == 1)") == 2, what="both up")

    def touched(query):
        accounts = ask(federation, "query", query=query)["coverage"]["datacenters"]
        return [account["datacenter"] for account in accounts]

    assert touched("up") == ["dc1", "dc2"]
    assert touched("up%7Bdatacenter=%22dc2%22%7D") == ["dc2"]
    assert touched("up%7Bdatacenter=~%22dc1%7Cdc3%22%7D") == ["dc1"]
    assert touched("1") == []


def test_a_range_too_short(federation, exporter):
    build(federation, exporter)
    wait_until(lambda: (federation.value("min(count_over_time(requests_total[30s]))") or 0) >= 7, what="some windows")
    end = int(time.time()) - 2

    def answer(**parameters):
        return ask(federation, "query_range", query="rate(requests_total[500ms])", start=end - 2, end=end, step=0.25,
                   **parameters)

    narrow = answer()
    assert narrow["data"]["result"] == []
    # A scrape that begins late has the time at which it began.
    (info,) = narrow["infos"]
    assert re.fullmatch(r"rate\(requests_total\[500ms\]\): 500ms is too short for series whose samples are "
                        r"(1s|\d+ms|1s\d+ms) apart: two are needed, \[\S+s\] is a good range", info), info
    wide = answer(widen="true")
    assert len(wide["data"]["result"]) == 4
    (info,) = wide["infos"]
    assert re.fullmatch(r"rate\(requests_total\[500ms\]\): evaluated over \[\S+s\], as its own range is too short for "
                        r"samples so far apart", info), info
