"""A browser for the tests that look at pages as a reader does, and work that is done once a run."""

import fcntl
import gc
import os
import shutil
import sys
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest
import urllib3
from hypothesis import settings

# of `make check`
settings.register_profile("check", max_examples=10)

# jsonschema asks it whether an IRI is one, which no schema here says, and its parsers take 3 s
sys.modules["rfc3987_syntax"] = None
gc.disable()  # while modules are imported and tests collected, as all of that stays

# no network, no first-run pages, no sandbox (containers have none)
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
PATIENCE = 600  # seconds for what a slow machine is slow to do; nobody waits longer than it takes


def until(condition, complaint=""):
    """What a condition gives, once it gives something."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, complaint() if callable(complaint) else complaint
        time.sleep(0.1)
    return found


def at_work(name, value):
    """The commands of processes, but for this one, with this value in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended
            alive = process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
            if alive and process.environ().get(name) == str(value):
                found.append(process.cmdline())
    return found


def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    # The notebooks, the ledger, for which the last of them waits, and then other long files first,
    # so that no process waits at the end for another
    first, marks = ("test_ledger", "test_notebooks"), ("notebook", "slow", "browser")
    long = {i.path for i in items if any(i.get_closest_marker(mark) for mark in marks)}
    items.sort(key=lambda item: (item.path.stem not in first, item.path not in long))
    # Of a test of many cases `make check` takes the first three and then every tenth
    cases = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if cases[test] >= 3 and cases[test] % 10:
            item.add_marker("slow")
        cases[test] += 1


def pytest_collection_finish():
    gc.enable()
    gc.freeze()  # else these 2 million objects are looked through again and again


def pytest_unconfigure():
    gc.unfreeze()  # so that what is frozen is freed at the end, which triton's bindings look at


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Makes a folder once a run of the tests, whichever of its processes asks first."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def folder(name, make):
        place, done = root / name, root / f"{name}.done"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(place, ignore_errors=True)  # of who failed
                place.mkdir()
                make(place)
                done.touch()
        return place

    return folder


class Browser:
    """Debian's Chromium without a window; what its console says is in `get_log("browser")`."""

    def __init__(self, profiles):
        exceptions = pytest.importorskip("selenium.common.exceptions")
        self.deaths = exceptions.WebDriverException, urllib3.exceptions.HTTPError
        self.profiles = profiles
        self.start()

    def start(self):
        from selenium import webdriver

        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        driver = shutil.which("chromedriver")
        if not (chromium and driver):
            pytest.skip("no Chromium with its driver: apt-get install chromium chromium-driver")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={self.profiles.mktemp('profile')}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
        self.chrome.command_executor.client_config.timeout = PATIENCE
        self.chrome.set_page_load_timeout(PATIENCE)
        self.chrome.set_script_timeout(PATIENCE)
        driver = psutil.Process(self.chrome.service.process.pid)
        self.processes = [*driver.children(recursive=True), driver]

    def __getattr__(self, name):
        return getattr(self.chrome, name)

    def is_alive(self):
        with suppress(*self.deaths):
            return bool(self.chrome.window_handles)
        return False

    def end(self):
        """End what is left of it."""
        with suppress(*self.deaths):
            self.chrome.quit()
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chrome = Browser(tmp_path_factory)
    yield chrome
    chrome.end()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Play a test whose browser died once more, with another one."""
    try:
        return (yield)
    except Exception:
        browser = pyfuncitem.funcargs.get("browser")
        if browser is None or browser.is_alive():
            raise
        browser.end()
        browser.start()
    given = pyfuncitem._fixtureinfo.argnames
    pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in given})
    return True
