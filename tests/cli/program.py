"""The digdag binary under test, in a directory of its own: what a person would type and see."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BINARY = os.path.abspath(os.environ.get('DIGDAG_BINARY', 'build/release/digdag'))
SESSION = ['--session', '2026-01-02']


class Done:
    """A finished command: its exit code and what stood on each stream."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def log(self, text):
        """The log lines that contain a text."""
        return [line for line in self.out.split('\n') if re.match(r'\d{4}-\d\d-\d\d ', line) and text in line]

    def ran(self):
        """The tasks whose operator was announced."""
        return re.findall(r'(?m)^\S+ \S+ \S+ \[INFO\] \([^)]*\](\+[^)]*)\) \S+: \w+>: ', self.out)


def as_at_login(ignoring=None):
    """What a process inherits of signals: a test that runs in the background of a script would hand on that it ignores Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number == ignoring else signal.SIG_DFL)


class ProgramTest(unittest.TestCase):
    """Each test has an empty project directory `self.project` and a configuration home of its own."""

    def setUp(self):
        self.project = tempfile.mkdtemp(prefix='digdag-test-')
        self.addCleanup(shutil.rmtree, self.project, ignore_errors=True)
        self.home = tempfile.mkdtemp(prefix='digdag-home-')
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith('DIGDAG_') and 'proxy' not in key.lower()}
        self.environment.update(XDG_CONFIG_HOME=self.home, TZ='UTC', LC_ALL='C.UTF-8')

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.project, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def digdag(self, *words, timeout=60, stdin=os.devnull, **environment):
        with open(stdin, 'rb') as given:
            done = subprocess.run([BINARY, *words], cwd=self.project, env={**self.environment, **environment}, stdin=given,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
        return Done(done.returncode, done.stdout.decode('utf-8', 'replace'), done.stderr.decode('utf-8', 'replace'))

    def run_workflow(self, text, *words, **environment):
        self.file('w.dig', text)
        return self.digdag('run', 'w.dig', *(words if '--session' in words else [*words, *SESSION]), **environment)

    def start(self, *words, ignoring=None):
        """A command that goes on; ended with the test. `ignoring`: a signal that it inherits as ignored."""
        process = subprocess.Popen([BINARY, *words], cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   preexec_fn=lambda: as_at_login(ignoring))

        def end():
            if process.poll() is None:
                process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def wait_for(self, what, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, f'waited in vain for {what}')
            time.sleep(0.01)

    def content(self, name):
        with open(os.path.join(self.project, name), encoding='utf-8') as file:
            return file.read()

    def exists(self, name):
        return os.path.exists(os.path.join(self.project, name))

    def state_files(self, session='20260102T000000+0000'):
        folder = os.path.join(self.project, '.digdag/status', session)
        if not os.path.isdir(folder):
            return []
        return sorted(name[:-4] for name in os.listdir(folder) if name.endswith('.yml'))

    def assert_error(self, done, *texts, code=1):
        """An error that a person can use: on standard error, behind `error: `, with these texts in it."""
        self.assertEqual(done.code, code, done.err)
        self.assertRegex(done.err, r'(?m)^error: ?')
        for text in texts:
            self.assertIn(text, done.err)


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, test, *words, **environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            as_at_login()
            os.chdir(test.project)
            os.execve(BINARY, [BINARY, *words], {**test.environment, 'TERM': 'xterm', **environment})
        self.text = ''
        self.status = None
        test.addCleanup(self.close)

    def read(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    piece = os.read(self.fd, 65536)
                except OSError:
                    return
                if not piece:
                    return
                self.text += piece.decode('utf-8', 'replace')

    def read_until(self, text, seconds=30):
        deadline = time.monotonic() + seconds
        while text not in self.text and time.monotonic() < deadline:
            self.read(0.05)
        return text in self.text

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self, seconds=30):
        """Waits for the end; the exit code."""
        deadline = time.monotonic() + seconds
        while self.status is None and time.monotonic() < deadline:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        self.read(0.1)
        return self.status

    def close(self):
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        os.close(self.fd)
