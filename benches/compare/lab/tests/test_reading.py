"""What other programs and the kernel say."""

from __future__ import annotations

import os
import unittest

from lab.fairness import parse_s_client
from lab.kernel import TICK, CpuReading, cpu, memory, parse_busy, parse_smaps, parse_stat, tree
from lab.load import parse_h2load, parse_own, parse_wrk
from lab.process import Failed

H2LOAD = """\
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits
Application protocol: h2
progress: 100% done

finished in 98.32ms, 61024.05 req/s, 61.58MB/s
requests: 6000 total, 6000 started, 6000 done, {succeeded} succeeded, 10 failed, 10 errored, 0 timeout
status codes: {right} 2xx, 0 3xx, 3 4xx, 0 5xx
traffic: 6.05MB (6348864) total, 70.31KB (72000) headers (space savings 90.55%), 5.86MB (6144000) data
"""

WRK = """\
Running 1s test @ https://localhost:18443/1k
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   412.50us  122.60us   3.93ms   85.03%
    Req/Sec    77.42k     3.03k   81.34k    70.00%
  76880 requests in 1.00s, 91.20MB read
{more}Requests/sec:  76811.33
Transfer/sec:     91.12MB
"""


class Kernel(unittest.TestCase):
    def test_a_name_may_hold_anything(self) -> None:
        stat = parse_stat("12 (a) b (c) R 7 1 1 0 -1 0 0 0 0 0 150 50 30 20 20 0 1 0 5 6 7")
        self.assertEqual((stat.state, stat.parent), ("R", 7))
        self.assertAlmostEqual(stat.own, 200 * TICK)
        self.assertAlmostEqual(stat.ended_children, 50 * TICK)

    def test_threads_tell_more_than_ticks_while_none_ends(self) -> None:
        before = CpuReading(ticks=1.0, threads={1: 1_000, 2: 2_000})
        self.assertAlmostEqual(CpuReading(1.0, {1: 1_500, 2: 2_000, 3: 700}).since(before), 1_200e-9)
        self.assertAlmostEqual(CpuReading(1.5, {1: 1_500}).since(before), 0.5)

    def test_memory_and_busyness(self) -> None:
        self.assertEqual(parse_smaps("0-1 rw\nRss:   20 kB\nPss:  12 kB\nPss_Dirty: 3 kB\n"), (20 * 1024, 12 * 1024))
        self.assertAlmostEqual(parse_busy("cpu  10 2 3 1000 50 4 5 6 7 0\ncpu0 1\n"), 30 * TICK)

    def test_this_process(self) -> None:
        self.assertIn(os.getpid(), tree(os.getpid()))
        before = cpu(os.getpid())
        while cpu(os.getpid()).since(before) < 0.01:
            pass
        self.assertGreater(memory(os.getpid()), 1 << 20)


class Loads(unittest.TestCase):
    def test_h2load(self) -> None:
        work = parse_h2load(H2LOAD.format(succeeded=6000, right=6000))
        self.assertEqual((work.done, work.failed), (6000, 0))
        self.assertEqual(work.agreed, "TLSv1.3 X25519 TLS_AES_128_GCM_SHA256 h2")

    def test_whatever_is_not_a_200_has_failed(self) -> None:
        self.assertEqual(parse_h2load(H2LOAD.format(succeeded=6000, right=5997)).failed, 3)
        self.assertEqual(parse_h2load(H2LOAD.format(succeeded=5990, right=6000)).failed, 10)
        with self.assertRaises(Failed):
            parse_h2load("Could not connect to host")

    def test_wrk(self) -> None:
        self.assertEqual((parse_wrk(WRK.format(more="")).done, parse_wrk(WRK.format(more="")).failed), (76880, 0))
        work = parse_wrk(WRK.format(more="  Non-2xx or 3xx responses: 80\n"))
        self.assertEqual((work.done, work.failed), (76800, 80))
        work = parse_wrk(WRK.format(more="  Socket errors: connect 1, read 20, write 0, timeout 3\n"))
        self.assertEqual((work.done, work.failed), (76880, 24))
        self.assertIn("read 20", work.errors[0])
        with self.assertRaises(Failed):
            parse_wrk("unable to connect to localhost:18443 Connection refused")

    def test_our_own(self) -> None:
        work = parse_own('{"held":1}\n{"done":5,"failed":1,"resumed":3,"agreed":["a","b"],"errors":["e"],"p50":1.5}\n')
        self.assertEqual((work.done, work.failed, work.agreed, work.errors), (5, 1, "a / b", ("e",)))
        self.assertEqual((work.numbers["resumed"], work.numbers["p50"]), (3.0, 1.5))
        self.assertNotIn("p99", parse_own('{"done":0,"failed":8,"p99":null}').numbers)


class Openssl(unittest.TestCase):
    def test_what_was_agreed(self) -> None:
        said = """\
Peer signature type: ECDSA
Server Temp Key: X25519, 253 bits
New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256
Server public key is 256 bit
ALPN protocol: h2
"""
        self.assertEqual(parse_s_client(said), "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 256 bit ECDSA h2")
        with self.assertRaises(Failed):
            parse_s_client("no peer certificate available")
