"""What bench/server works with: a database on the disk that is measured, a `digdag server` on it, and a client that costs little."""
import glob
import http.client
import io
import json
import os
import pwd
import re
import shutil
import signal
import sqlite3
import socket
import statistics
import subprocess
import tarfile
import time

TICKS = os.sysconf('SC_CLK_TCK')


def tree_of(pid):
    """A process and its descendants."""
    children = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            try:
                with open(f'/proc/{entry}/stat', encoding='utf-8') as stat:
                    children.setdefault(int(stat.read().rsplit(')', 1)[1].split()[1]), []).append(int(entry))
            except OSError:
                continue
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_of(pid):
    """CPU seconds of a process, its descendants, and what has ended below them."""
    total = 0
    for process in tree_of(pid):
        try:
            with open(f'/proc/{process}/stat', encoding='utf-8') as stat:
                total += sum(int(field) for field in stat.read().rsplit(')', 1)[1].split()[11:15])
        except OSError:
            continue
    return total / TICKS


def memory_of(pid):
    """Proportional set size of a process and its descendants, in MB."""
    total = 0
    for process in tree_of(pid):
        try:
            with open(f'/proc/{process}/smaps_rollup', encoding='utf-8') as rollup:
                total += int(re.search(r'^Pss:\s+(\d+)', rollup.read(), re.MULTILINE).group(1))
        except (OSError, AttributeError):
            continue
    return total / 1024


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def bare_fsync(directory, rounds=100):
    """Median of the milliseconds that 4 KB more take until the disk has them: a file that grows, as a log of a database does."""
    path, walls = os.path.join(directory, 'fsync'), []
    with open(path, 'wb', buffering=0) as file:
        for _ in range(rounds):
            start = time.perf_counter()
            file.write(b'x' * 4096)
            os.fdatasync(file.fileno())
            walls.append((time.perf_counter() - start) * 1000)
    os.unlink(path)
    return statistics.median(walls)


class Sqlite:
    name = 'SQLite'

    def __init__(self, directory):
        self.directory = os.path.join(directory, 'sqlite')

    def settings(self):
        return f'database.type = h2\ndatabase.path = {self.directory}\n'

    def fresh(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self):
        pass

    def cpu(self):
        return 0.0

    def durability(self):
        return 'synchronous = FULL (NORMAL where only the process may not lose it), WAL'

    def serial_commit(self, rounds=100):
        walls, path = [], os.path.join(os.path.dirname(self.directory), f'commits-{time.time_ns()}.db')
        database = sqlite3.connect(path, isolation_level=None)
        database.execute('pragma journal_mode = wal')
        database.execute('pragma synchronous = full')
        database.execute('create table t (n integer primary key)')
        for _ in range(rounds):
            start = time.perf_counter()
            database.execute('insert into t default values')
            walls.append((time.perf_counter() - start) * 1000)
        database.close()
        return statistics.median(walls)

    def sql(self, text):
        database = sqlite3.connect(os.path.join(self.directory, 'digdag.sqlite'), timeout=30)
        try:
            rows = database.execute(text).fetchall()
            database.commit()
            return rows
        finally:
            database.close()

    def syncs(self):
        return None


class Postgresql:
    """A server of its own, as Debian sets it up: fsync on, nothing tuned."""
    name = 'PostgreSQL'

    def __init__(self, directory):
        self.bin = sorted(glob.glob('/usr/lib/postgresql/*/bin'))[-1]
        self.directory = os.path.join(directory, 'postgresql')
        os.mkdir(self.directory)
        self.user = {}
        if os.getuid() == 0:  # initdb refuses root
            entry = pwd.getpwnam('postgres')
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
            self.user = {'user': 'postgres', 'group': 'postgres', 'extra_groups': []}
        self.data = os.path.join(self.directory, 'data')
        self.run('initdb', '-D', self.data, '-U', 'digdag', '--auth=trust', '--no-instructions', '-E', 'UTF8', '--locale=C.UTF-8')
        self.run('pg_ctl', '-D', self.data, '-w', '-l', f'{self.directory}/log', '-o', f"-k {self.directory} -c listen_addresses=''", 'start')
        with open(f'{self.data}/postmaster.pid', encoding='utf-8') as file:
            self.pid = int(file.readline())

    def run(self, program, *words, text=''):
        done = subprocess.run([os.path.join(self.bin, program), *words], input=text, cwd=self.directory, capture_output=True, text=True, check=False,
                              **self.user)
        if done.returncode != 0:
            raise SystemExit(f'{program}: {done.stdout}{done.stderr}')
        return done.stdout

    def settings(self):
        return f'database.type = postgresql\ndatabase.host = {self.directory}\ndatabase.user = digdag\ndatabase.database = bench\n'

    def psql(self, database, text):
        return self.run('psql', '-X', '-q', '-A', '-t', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-h', self.directory, '-U', 'digdag', '-d', database, text=text)

    def sql(self, text):
        return [tuple(line.split('\t')) for line in self.psql('bench', text).splitlines()]

    def fresh(self):
        self.psql('postgres', 'drop database if exists bench with (force);\ncreate database bench;\ncheckpoint;')

    def stop(self):
        self.run('pg_ctl', '-D', self.data, '-m', 'immediate', 'stop')

    def cpu(self):
        return cpu_of(self.pid)

    def durability(self):
        return self.psql('postgres', "select string_agg(name || ' = ' || setting, ', ') from pg_settings where name in "
                                     "('fsync', 'synchronous_commit', 'wal_sync_method', 'full_page_writes')").strip()

    def serial_commit(self, rounds=100):
        self.psql('postgres', 'drop table if exists commits; create table commits (at timestamptz not null)')
        self.psql('postgres', f'do $$ begin for i in 1..{rounds} loop insert into commits values (clock_timestamp()); commit; end loop; end $$')
        return float(self.psql('postgres', 'select percentile_cont(0.5) within group (order by ms) from (select extract(epoch from at - lag(at) '
                                           'over (order by at)) * 1000 as ms from commits) as c where ms is not null'))

    def syncs(self):
        """Of the log so far. Counted when a process of the database has been idle for a second."""
        time.sleep(1.5)
        return int(self.psql('postgres', 'select wal_sync from pg_stat_wal'))


class Client:
    """One connection that stays."""

    def __init__(self, port):
        self.port = port
        self.connection = http.client.HTTPConnection('127.0.0.1', port)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method, path, body=None, kind='application/json'):
        self.connection.request(method, path, body=body, headers={'Content-Type': kind} if body is not None else {})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise SystemExit(f'{method} {path}: {answer.status} {content.decode()[:500]}')
        return json.loads(content) if content else None

    def get(self, path):
        return self.ask('GET', path)

    def is_ready(self):
        self.connection.request('GET', '/api/ready')
        answer = self.connection.getresponse()
        answer.read()
        return answer.status == 200

    def push(self, project, files):
        """Pushes a project and gives its workflows: name -> id."""
        pushed = self.push_archive(project, archive_of(files))
        workflows = self.get(f'/api/projects/{pushed["id"]}/workflows')['workflows']
        return {workflow['name']: workflow['id'] for workflow in workflows}

    def push_archive(self, project, archive):
        return self.ask('PUT', f'/api/projects?project={project}&revision=r{time.time_ns()}', archive, 'application/gzip')

    def start(self, workflow_id):
        Client.session += 1
        at = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(Client.session))
        return self.ask('PUT', '/api/attempts', json.dumps({'workflowId': workflow_id, 'sessionTime': at, 'params': {}}))['id']

    session = 1_000_000_000

    def wait(self, attempt_id, pause=0.0):
        while True:
            attempt = self.get(f'/api/attempts/{attempt_id}')
            if attempt['done']:
                if not attempt['success']:
                    raise SystemExit(f'attempt {attempt_id} failed')
                return
            if pause:
                time.sleep(pause)


def archive_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz', compresslevel=1) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


class Server:
    """A `digdag server` on a database, until the end of a `with`."""

    def __init__(self, binary, directory, database, settings=''):
        self.config = os.path.join(directory, 'config')
        with open(self.config, 'w', encoding='utf-8') as file:
            file.write(database.settings() + settings)
        with socket.create_server(('127.0.0.1', 0)) as free:
            self.port = free.getsockname()[1]
        self.log = open(os.path.join(directory, 'server.log'), 'ab')
        start = time.perf_counter()
        self.process = subprocess.Popen([binary, 'server', '-c', self.config, '-n', str(self.port)], cwd=directory, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        try:
            self.client = self.first_client()
            self.client.get('/api/version')
            self.first_answer = (time.perf_counter() - start) * 1000
            while not self.client.is_ready():
                time.sleep(0.001)
        except BaseException:
            self.process.kill()
            raise

    def first_client(self):
        while True:
            try:
                return Client(self.port)
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    raise SystemExit(f'the server ended; see {self.log.name}') from None
                time.sleep(0.0005)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()

    def cpu(self):
        return cpu_of(self.process.pid)

    def memory(self):
        return memory_of(self.process.pid)

    def syncs_while(self, work):
        """How often the server's own process makes the disk write while it works; None where that cannot be counted here."""
        if shutil.which('strace') is None:
            return None
        trace = subprocess.Popen(['strace', '-c', '-f', '-e', 'trace=fsync,fdatasync', '-p', str(self.process.pid)], stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        work()
        trace.send_signal(signal.SIGINT)
        report = trace.communicate()[1]
        return sum(int(line.split()[3]) for line in report.splitlines() if re.search(r'\bf(data)?sync$', line))
