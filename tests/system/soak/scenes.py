"""Each scene disturbs the appliance while it is under load, and returns what it has counted."""

import asyncio
import signal
import socket
import time

from appliance import Appliance
from load import Load, connect, get, post

MIB = 1 << 20


def holds(what, condition, *seen):
    if not condition:
        raise SystemExit(f"FAILED {what}: {' '.join(map(str, seen))}")


def unscathed(scene, load):
    """Raises an error if a caller has seen a failure."""
    wrong = {status: count for status, count in load.answers.items() if status != 200}
    holds(f"{scene}: no request failed", not load.failures and not wrong, load.failures[:5], wrong)


async def replacement_behind_a_balancer(stage):
    """A rolling replacement, as an Auto Scaling group behind a load balancer makes it: the new one is asked whether it
    is ready, then gets requests; the old one gets none any more, finishes, and is ended."""
    old = [await stage.appliance().start() for _ in range(2)]
    registered = [one.port for one in old]
    turn = 0

    def pick():
        nonlocal turn
        turn += 1
        return registered[turn % len(registered)]

    # POSTs: whatever were sent twice, or lost, would be seen.
    load = Load(pick, make=lambda number: post("small", number))
    replaced = 0
    while load.sent < stage.requests:
        await asyncio.sleep(min(1.0, stage.requests / 20_000))
        new = await stage.appliance().start()
        probe = await connect(new.port)
        status, _ = await probe.ask(b"GET /_appliance/readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        holds("the new one is ready", status == 200, status)
        probe.transport.close()
        registered.append(new.port)
        leaving = old.pop(0)
        registered.remove(leaving.port)
        while load.running[leaving.port]:
            await asyncio.sleep(0.01)
        code, cut = await leaving.stop()
        holds("the old one ends in order", (code, cut) == (0, 0), code, cut)
        old.append(new)
        replaced += 1
    await load.stop()
    unscathed("replacement behind a balancer", load)
    counts = await stage.upstream.counts()
    holds("each request was passed on once", counts["requests"] == counts["different"] == load.sent, counts, load.sent)
    for one in old:
        holds("it ends in order", (await one.stop()) == (0, 0))
    return f"{load.sent} POSTs during {replaced} replacements behind a balancer: none failed, each passed on once; longest {load.longest:.2f} s"


async def replacement_on_one_socket(stage):
    """A replacement on one machine: systemd keeps the socket, and the next process takes it over."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    current = await stage.appliance(listener).start()
    load = Load(lambda: current.port)
    replaced = 0
    while load.sent < stage.requests // 4:
        await asyncio.sleep(0.3)
        leaving, current = current, await stage.appliance(listener).start()
        code, _ = await leaving.stop()
        holds("the old one ends in order", code == 0, code)
        replaced += 1
    await load.stop()
    unscathed("replacement on one socket", load)
    await current.stop()
    return f"{load.sent} GETs during {replaced} replacements on one socket: none failed, {load.repeated} repeated on a new connection"


async def reloads(stage):
    """Sends SIGHUP again and again."""
    one = await stage.appliance().start()
    load = Load(lambda: one.port, make=lambda number: post("small", number))
    for _ in range(200):
        one.signal(signal.SIGHUP)
        await asyncio.sleep(0.02)
    await load.stop()
    unscathed("reloads", load)
    holds("it has reloaded", sum(event["message"] == "reloading" for event in one.events()) > 50)
    await one.stop()
    return f"{load.sent} POSTs during 200 SIGHUP: none failed"


async def termination(stage):
    """Sends SIGTERM under load: requests in flight are finished, and later ones are not sent in part."""
    finished = 0
    for _ in range(5):
        await stage.upstream.forget()
        one = await stage.appliance().start()
        slow = [await connect(one.port) for _ in range(50)]
        asked = [asyncio.create_task(each.ask(post("slow", f"{one.port}-{number}"))) for number, each in enumerate(slow)]
        while (await stage.upstream.counts())["requests"] < len(slow):
            await asyncio.sleep(0.01)
        code, cut = await one.stop()
        holds("it ends in order", (code, cut) == (0, 0), code, cut)
        for answer in await asyncio.gather(*asked):
            holds("what has begun is finished", answer[0] == 200, answer)
            finished += 1
    return f"SIGTERM with 50 requests on their way, 5 times: all {finished} answered"


async def uploads(stage):
    """Many uploads at once, larger than what is kept in memory: memory is bounded, and all arrive."""
    count, body = stage.uploads, bytes(1 * MIB + 1)
    one = await stage.appliance(arguments=["--upstream-connections", "64", "--spool-directory", "/var/tmp"]).start()
    warm = await connect(one.port)
    await warm.ask(get("small", "warm"))
    before = most = one.resident()
    connections = [await connect(one.port) for _ in range(count)]
    # All begin, and none ends until all have begun.
    requests = [post("upload", number, body) for number in range(2)]
    head = requests[0].index(b"\r\n\r\n") + 4
    for number, connection in enumerate(connections):
        connection.transport.write(post("upload", number, body)[: head + MIB // 2])
    while any(connection.transport.get_write_buffer_size() for connection in connections):
        most = max(most, one.resident())
        await asyncio.sleep(0.05)
    held = one.resident()

    async def finish(number, connection):
        await asyncio.sleep(number / 500)
        rest = post("upload", number, body)[head + MIB // 2 :]
        for attempt in range(20):
            status, fields = await connection.ask(rest)
            if status != 429:
                return status, attempt
            # As MLflow's client does.
            await asyncio.sleep(float(fields.split(b"\r\nretry-after:")[1].split(b"\r\n")[0]))
            connection, rest = await connect(one.port), post("upload", number, body)
        return status, attempt

    tasks = [asyncio.create_task(finish(number, connection)) for number, connection in enumerate(connections)]
    while not all(task.done() for task in tasks):
        most = max(most, one.resident())
        await asyncio.sleep(0.05)
    ended = [task.result() for task in tasks]
    holds("all uploads arrived", all(status == 200 for status, _ in ended), {status for status, _ in ended})
    bound = stage.upload_bound
    holds("memory is bounded", most - before < bound, f"{(most - before) // MIB} MiB")
    counts = await stage.upstream.counts()
    await one.stop()
    again = sum(attempt for _, attempt in ended)
    return (
        f"{count} uploads of 1 MiB at once: {before // MIB} MiB before, {held // MIB} MiB while all were half there, {most // MIB} MiB "
        f"at most; all arrived ({counts['bytes'] // MIB} MiB), {again} turned away for a while"
    )


async def descriptors(stage):
    """Runs the appliance with fewer file descriptors than callers."""
    one = await stage.appliance(before=["prlimit", "--nofile=256:256"]).start()
    inside = Load(lambda: one.port, callers=8, make=lambda number: post("small", number))
    await inside.until(200)
    crowd = [await connect(one.port) for _ in range(600)]
    await asyncio.sleep(2)
    holds("there are none left", one.descriptors() >= 250, one.descriptors())
    sent = inside.sent
    await inside.until(sent + 500)
    for connection in crowd:
        connection.transport.close()
    late = Load(lambda: one.port, callers=8, make=lambda number: post("small", number))
    await late.until(500)
    for load in (inside, late):
        unscathed("descriptors", await load.stop())
    await one.stop()
    return f"no descriptors left for 2 s and more: {inside.sent} POSTs of those inside, {late.sent} of those who came after, none failed"


async def soak(stage):
    """Sends all kinds of requests for the given time: memory and descriptors do not grow."""
    # The allocator returns freed pages at once. With its usual delay, the resident memory wanders by 9 MiB within half
    # a minute although the program holds the same, and hides what this scene looks for.
    one = await stage.appliance(environment={"MIMALLOC_PURGE_DELAY": "0"}).start()
    kinds = ["small"] * 40 + ["large"] * 2 + ["closed"]

    def make(number):
        kind = kinds[number % len(kinds)]
        if number % 211 == 0:
            return post("upload", number, bytes(2 * MIB))
        return post(kind, number) if number % 3 else get(kind, number)

    # Many uploads at once are rare and would look like growth when they happen, so they happen first.
    crowd = Load(lambda: one.port, callers=16, make=lambda number: post("upload", number, bytes(2 * MIB)))
    await crowd.until(300)
    unscathed("soak", await crowd.stop())
    load = Load(lambda: one.port, callers=16, make=make)
    samples, began = [], time.monotonic()
    while (at := time.monotonic() - began) < stage.seconds:
        samples.append((at, one.resident(), one.descriptors()))
        # Callers who leave in the middle.
        gone = await connect(one.port)
        gone.transport.write(post("gone", 0, bytes(1000))[:-500])
        await asyncio.sleep(min(1.0, stage.seconds / 60))
        gone.transport.close()
    await load.stop()
    holds("soak: no connection to the appliance failed", not load.failures, load.failures[:5])
    holds("soak: only what the upstream broke off failed", set(load.answers) <= {200, 502}, load.answers)
    # The first third is for pools and allocators to find their size.
    steady = [sample for sample in samples if sample[0] > stage.seconds / 3]
    memory = slope([(at, resident / MIB) for at, resident, _ in steady])
    files = slope([(at, count) for at, _, count in steady])
    hours = stage.seconds / 3600
    # The noise may be 4 MiB and 8 descriptors from the beginning to the end, however long the scene takes.
    holds("memory does not grow", memory * hours < 4, f"{memory:.2f} MiB an hour")
    holds("descriptors do not grow", files * hours < 8, f"{files:.2f} an hour")
    last = samples[-1]
    await one.stop()
    return (
        f"{load.sent} requests in {stage.seconds} s ({dict(load.answers)}): {samples[0][1] // MIB} MiB at first, {last[1] // MIB} MiB at last, "
        f"{memory:+.2f} MiB an hour; {last[2]} descriptors, {files:+.2f} an hour"
    )


def slope(points):
    """Returns by how much a value grows in an hour, by least squares."""
    count = len(points)
    mean_at = sum(at for at, _ in points) / count
    mean = sum(value for _, value in points) / count
    above = sum((at - mean_at) * (value - mean) for at, value in points)
    return 3600 * above / sum((at - mean_at) ** 2 for at, _ in points)


SCENES = [replacement_behind_a_balancer, replacement_on_one_socket, reloads, termination, uploads, descriptors, soak]
