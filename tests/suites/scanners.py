"""The scanners that operators use: sslyze, testssl.sh, slowhttptest. One that is not installed is told and counts as
failed: tests/run.sh installs them."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from harness import HOST, Door, Origin, Tally


def sslyze(tally, door):
    program = os.path.join(os.path.dirname(sys.executable), "sslyze")
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([program, f"--json_out={out.name}", "--sni", HOST, "--tlsv1_3", "--tlsv1_2", "--tlsv1_1", "--tlsv1", "--sslv3", "--sslv2",
                        "--compression", "--fallback", "--reneg", "--heartbleed", "--robot", "--openssl_ccs", "--early_data", "--elliptic_curves",
                        "--ems", "%s:%d" % door.https], check=False, stdout=subprocess.DEVNULL, timeout=300)
        out.seek(0)
        report = json.load(out)
    result = report["server_scan_results"][0]["scan_result"]
    for key, scan in result.items():
        if scan["status"] not in ("COMPLETED", "NOT_SCHEDULED"):
            tally.check(False, f"sslyze: {key} came to an end", scan["status"])
    get = lambda key: result[key]["result"]
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]:
        accepted = get(f"{version}_cipher_suites")["accepted_cipher_suites"]
        tally.check(not accepted, f"sslyze: no {version}", accepted)
    for version in ["tls_1_2", "tls_1_3"]:
        names = [suite["cipher_suite"]["name"] for suite in get(f"{version}_cipher_suites")["accepted_cipher_suites"]]
        tally.check(names and all(re.search("GCM|CHACHA20", name) for name in names), f"sslyze: {version} with AEAD alone", names)
        if version == "tls_1_2":
            tally.check(all("ECDHE" in name for name in names), "sslyze: forward secrecy", names)
    tally.check(not get("tls_compression")["supports_compression"], "sslyze: no compression")
    tally.check(not get("heartbleed")["is_vulnerable_to_heartbleed"], "sslyze: Heartbleed")
    tally.check("NOT_VULNERABLE" in get("robot")["robot_result"], "sslyze: ROBOT", get("robot"))
    tally.check(not get("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"], "sslyze: CCS injection")
    tally.check(not get("session_renegotiation")["is_vulnerable_to_client_renegotiation_dos"], "sslyze: renegotiation")
    tally.check(not get("tls_1_3_early_data")["supports_early_data"], "sslyze: no early data")
    tally.check(get("tls_extended_master_secret")["supports_ems_extension"], "sslyze: extended master secret")


def testssl(tally, door):
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if not tally.check(program, "testssl.sh is installed"):
        return
    checks = ["-p", "-s", "-f", "-U", "-S", "-P"]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.json")
        subprocess.run([program, "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", out, "--sneaky", *checks, "--ip", door.https[0], f"https://{HOST}:{door.https[1]}"],
                       check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)
        with open(out, encoding="utf-8") as file:
            findings = json.load(file)
    tally.check(len(findings) > 12, "testssl.sh looked", len(findings))
    for finding in findings:
        # HSTS, BREACH and the like are the app's; LUCKY13 needs CBC. The suite's own CA is nobody's, and lasts for days.
        ours = finding["id"] in ("cert_chain_of_trust", "cert_expirationStatus", "cert_notAfter", "cert_revocation")
        bad = finding["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL") and not ours
        tally.check(not bad, f"testssl.sh: {finding['id']}", finding["finding"])


def slowhttptest(tally, door):
    if not tally.check(shutil.which("slowhttptest"), "slowhttptest is installed"):
        return
    url = "https://%s:%d/" % door.https
    for what, args in [("slow heads (Slowloris)", ["-H", "-i", "2", "-t", "GET", "-x", "24"]),
                       ("slow bodies (R-U-Dead-Yet)", ["-B", "-i", "2", "-s", "8192", "-t", "POST", "-x", "10"]),
                       ("slow readers", ["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-k", "1"])]:
        run = subprocess.run(["slowhttptest", "-c", "400", "-r", "200", "-p", "9", "-l", "12", "-u", url, *args],
                             check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", run.stdout)
        available = re.findall(r"service available:\s+(YES|NO)", text)
        tally.check("NO" not in available and available, f"slowhttptest: {what}", text[-300:])
        tally.check(door.get()[0] == 200, f"slowhttptest: an honest client after {what}")


if __name__ == "__main__":
    tally = Tally()
    origin = Origin()
    # The name has to lead here for programs that look it up: the listener's default answers for the address too.
    with Door([(HOST, origin.port, "")], '[timeouts]\nrequest_header = "3s"\nrequest_body = "3s"\nkeep_alive = "5s"',
              https_keys=f'default_certificate = "{HOST}"') as door:
        for part in (sslyze, testssl, slowhttptest):
            if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
                part(tally, door)
                print(f"  {part.__name__} is through", flush=True)
    tally.end()
