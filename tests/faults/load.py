"""A server under load while faults happen to it, and the checker that reads what is left.

Every task writes a line when it begins and one when it ends: attempt, task, an id of its own, and which process of the server
began it. What the server acknowledged is kept; in the end files and database must tell one story.
"""
import collections
import gzip
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'cli'), os.path.join(HERE, '..', 'store')]
from program import BINARY, as_at_login  # noqa: E402
import server as postgresql  # noqa: E402

HANG = int(os.environ.get('DIGDAG_FAULTS_HANG', '600'))  # seconds; no wait is near it unless something hangs

DONE, SUCCESS, CANCEL = 2, 4, 1

MARK = '''#!/bin/sh
read id < /proc/sys/kernel/random/uuid
echo "begin $1 $2 $id $FAULTS_PROCESS" >> "$FAULTS_MARKS"
eval "${3:-:}" || exit 1
echo "end $1 $2 $id $FAULTS_PROCESS" >> "$FAULTS_MARKS"
'''

# `again` fails in its first round, which the attempt remembers in a file.
WORKFLOWS = {
    'load.dig': '''
timezone: UTC
_export:
  mark: ./mark.sh ${attempt_id}
+first:
  sh>: ${mark} first
+turns:
  loop>: 3
  _parallel: true
  _do:
    +turn:
      sh>: ${mark} turn${i} 'sleep 0.${i}'
+group:
  _retry: 1
  +again:
    sh>: ${mark} again 'test -e "$FAULTS_ONCE/${attempt_id}" || { touch "$FAULTS_ONCE/${attempt_id}"; exit 1; }'
+pause:
  wait>: 1s
+need:
  require>: needed
  session_time: ${session_time}
+last:
  sh>: ${mark} last
''',
    'needed.dig': '''
timezone: UTC
+only:
  sh>: ./mark.sh ${attempt_id} needed
''',
    'endless.dig': '''
timezone: UTC
+parallel:
  _parallel: true
  +sleeps:
    sh>: sleep 100000
  +waits:
    wait>: 100000s
  +retries:
    sh>: exit 1
    _retry:
      limit: 100000
      interval: 10000
''',
    'every_second.dig': '''
timezone: UTC
schedule:
  seconds_interval>: 1
+tick:
  sh>: ./mark.sh ${attempt_id} tick
''',
}


def wait_for(what, condition, seconds=HANG):
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f'waited in vain for {what}')
        time.sleep(0.05)


def archive():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w') as tar:
        for name, text, mode in [(name, text, 0o644) for name, text in WORKFLOWS.items()] + [('mark.sh', MARK, 0o755)]:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue())


class Sqlite:
    """The database of the server: SQLite in a directory."""

    def __init__(self, directory):
        self.path = os.path.join(directory, 'db')

    def settings(self):
        return f'database.type = sqlite\ndatabase.path = {self.path}\n'

    def rows(self, sql):
        connection = sqlite3.connect(f'file:{self.path}/digdag.sqlite?mode=ro', uri=True, timeout=60)
        try:
            return [tuple('' if value is None else str(value) for value in row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def stop(self):
        pass

    def trouble(self):
        return []


class Postgresql:
    """PostgreSQL, perhaps behind a proxy."""

    def __init__(self, _directory):
        self.server = postgresql.Server()
        self.server.create('digdag')
        self.more = ''

    def settings(self):
        return self.server.settings('digdag') + 'database.maximumPoolSize = 2\n' + self.more

    def rows(self, sql):
        text = self.server.run('psql', '-X', '-A', '-t', '-F', '\x1f', '-R', '\x1e', '-h', self.server.directory, '-U', 'digdag', '-d', 'digdag', '-c', sql)
        return [tuple(line.split('\x1f')) for line in text.rstrip('\n').split('\x1e')] if text.strip() else []

    def stop(self):
        self.server.stop()

    def trouble(self):
        with open(os.path.join(self.server.directory, 'log'), encoding='utf-8', errors='replace') as log:
            return [line.rstrip() for line in log if 'deadlock detected' in line]


DATABASES = {'sqlite': Sqlite, 'postgresql': Postgresql}


class Server:
    """`digdag server`, started again and again on the same database. Its log goes on in one file."""

    def __init__(self, directory, database, more=''):
        self.directory, self.database = directory, database
        self.log = os.path.join(directory, 'server.log')
        self.marks = os.path.join(directory, 'marks')
        open(self.marks, 'w', encoding='utf-8').close()
        os.makedirs(os.path.join(directory, 'once'), exist_ok=True)
        self.name = 'FAULTS_SERVER=' + uuid.uuid4().hex
        self.number = 0
        self.info = ''
        self.process = None
        self.more = more

    def start(self):
        """Does not wait until it listens."""
        self.number += 1
        self.info = info = os.path.join(self.directory, f'info-{self.number}.json')
        config = os.path.join(self.directory, 'server.properties')
        with open(config, 'w', encoding='utf-8') as out:
            out.write(self.database.settings() + f'''server.port = 0
server.runtime-info.path = {info}
executor.attempt_max_run = 100000
agent.max-lost-leases = 1000
log-server.type = local
log-server.local.path = {self.directory}/logs
{self.more}''')
        environment = {key: value for key, value in os.environ.items() if not key.startswith('DIGDAG_') and 'proxy' not in key.lower()}
        environment.update([self.name.split('=')], XDG_CONFIG_HOME=self.directory, TZ='UTC', LC_ALL='C.UTF-8', FAULTS_MARKS=self.marks,
                           FAULTS_PROCESS=str(self.number), FAULTS_ONCE=os.path.join(self.directory, 'once'))
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen([BINARY, 'server', '-c', config], cwd=self.directory, env=environment, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=as_at_login)

    def wait_until_it_listens(self):
        wait_for('the server', lambda: os.path.exists(self.info) or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise AssertionError(f'the server ended with {self.process.returncode}:\n' + self.log_text()[-3000:])

    def find_port(self):
        """Where it listens; nothing while it does not."""
        try:
            with open(self.info, encoding='utf-8') as file:
                return json.load(file)['local_addresses'][0]['port']
        except (OSError, ValueError):
            return None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=HANG)

    def log_text(self):
        with open(self.log, encoding='utf-8', errors='replace') as file:
            return file.read()

    def processes(self, number=None):
        """The living processes that it, or its process of that number, began."""
        wanted = {self.name.encode()} | ({f'FAULTS_PROCESS={number}'.encode()} if number else set())
        found = []
        for entry in os.listdir('/proc'):
            if not entry.isdigit():
                continue
            try:
                with open(f'/proc/{entry}/environ', 'rb') as source:
                    if not wanted <= set(source.read().split(b'\0')):
                        continue
                with open(f'/proc/{entry}/cmdline', 'rb') as source:
                    words = source.read()
            except OSError:
                continue
            if words:
                found.append((int(entry), words.replace(b'\0', b' ').decode('utf-8', 'replace')))
        return found

    def ask(self, method, path, body=None, kind='application/json'):
        """Status and answer; (None, why) where none came."""
        port = self.find_port()
        if port is None:
            return None, 'does not listen'
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=120)
        try:
            connection.request(method, path, body, {'Content-Type': kind} if body is not None else {})
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b'null')
        except (OSError, http.client.HTTPException, ValueError) as error:
            return None, repr(error)
        finally:
            connection.close()

    def ask_until_answered(self, method, path, body=None, kind='application/json', stop=lambda: False):
        """Asks again where no answer came, or `later`."""
        until = time.monotonic() + HANG
        while True:
            status, answer = self.ask(method, path, body, kind)
            if status is not None and status != 503:
                return status, answer
            if stop():
                return None, 'stopped'
            if time.monotonic() > until:
                raise AssertionError(f'{method} {path} was not answered: {status} {answer}')
            time.sleep(0.05)


class Load:
    """Starts, kills and looks at attempts, on threads of its own."""

    def __init__(self, server, attempts, seed, threads=4):
        self.server, self.seed = server, seed
        self.lock = threading.Lock()
        self.wanted = list(range(attempts))
        self.acknowledged = {}  # attempt id: (workflow, session time, name)
        self.repeated = collections.Counter()
        self.killed = set()
        self.succeeded = {}  # (attempt, task): the number of the process that said so
        self.errors = []
        self.stopping = False
        self.ids = self.push()
        self.threads = [threading.Thread(target=self.guarded, args=(self.start_attempts, number), daemon=True) for number in range(threads)]
        self.threads.append(threading.Thread(target=self.guarded, args=(self.look, threads), daemon=True))

    def push(self):
        status, project = self.server.ask_until_answered('PUT', '/api/projects?project=faults&revision=1', archive(), 'application/gzip')
        assert status == 200, project
        status, workflows = self.server.ask_until_answered('GET', f"/api/projects/{project['id']}/workflows")
        assert status == 200, workflows
        return {workflow['name']: workflow['id'] for workflow in workflows['workflows']}

    def begin(self):
        for thread in self.threads:
            thread.start()

    def guarded(self, work, number):
        try:
            work(random.Random(f'{self.seed}-{number}'))
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(error)

    def start_attempts(self, chance):
        while True:
            with self.lock:
                if not self.wanted or self.stopping:
                    return
                number = self.wanted.pop()
            workflow = 'endless' if number % 20 == 7 else 'load'
            session = f'2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z'
            wanted = (workflow, session, f'name{number}')
            body = json.dumps({'workflowId': self.ids[workflow], 'sessionTime': session, 'params': {}, 'retryAttemptName': wanted[2]})
            attempt = self.start(wanted, body)
            if chance.random() < 0.2:
                assert self.start(wanted, body) == attempt, 'the same request gave another attempt'
            if workflow == 'endless':
                self.kill(attempt)

    def start(self, wanted, body):
        status, answer = self.server.ask_until_answered('PUT', '/api/attempts', body)
        if status not in (200, 409):
            raise AssertionError(f'PUT /api/attempts {wanted}: {status} {answer}')
        attempt = int(answer['id'])
        with self.lock:
            self.repeated[status] += 1
            self.acknowledged[attempt] = wanted
        return attempt

    def kill(self, attempt):
        status, answer = self.server.ask_until_answered('POST', f'/api/attempts/{attempt}/kill', '{}')
        # A kill whose answer was lost has perhaps ended it.
        if status not in (200, 202, 204, 409):
            raise AssertionError(f'kill of {attempt}: {status} {answer}')
        with self.lock:
            self.killed.add(attempt)

    def look(self, chance):
        """What the API shows as a success is one: it is not run again."""
        while not self.stopping:
            with self.lock:
                known = list(self.acknowledged)
            if not known:
                time.sleep(0.05)
                continue
            attempt = chance.choice(known)
            process = self.server.number
            status, answer = self.server.ask('GET', f'/api/attempts/{attempt}/tasks')
            if status is not None and status not in (200, 503):
                raise AssertionError(f'GET tasks of {attempt}: {status} {answer}')
            if status == 200:
                for task in answer['tasks']:
                    mark = mark_of(task['fullName'])
                    if mark and task['state'] == 'success':
                        with self.lock:
                            self.succeeded.setdefault((attempt, mark), process)
            time.sleep(0.02)

    def wait_until_all_are_started(self):
        for thread in self.threads[:-1]:
            thread.join(HANG)
            if thread.is_alive():
                raise AssertionError('a start was not answered')
        self.raise_error()

    def end(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(HANG)
        self.raise_error()

    def raise_error(self):
        if self.errors:
            raise self.errors[0]


def mark_of(full_name):
    """The mark that a task of `load` writes; nothing for one that writes none."""
    turn = re.search(r'\+loop-(\d+)\+turn$', full_name)
    if turn:
        return 'turn' + turn.group(1)
    last = full_name.rsplit('+', 1)[-1]
    return last if last in ('first', 'last') else None


class Checker:
    """What must be so when all is over. `problems` are what is not."""

    def __init__(self, server, load):
        self.server, self.database, self.load = server, server.database, load
        self.problems = []

    def wait_until_all_is_over(self):
        # All that was due meanwhile is started, too.
        wait_for('the schedule', lambda: int(self.database.rows('select next_run_time from schedules')[0][0]) >= time.time() - 1)
        _, answer = self.server.ask_until_answered('GET', '/api/schedules')
        for schedule in answer['schedules']:
            self.server.ask_until_answered('POST', f"/api/schedules/{schedule['id']}/disable", '{}')
        try:
            wait_for('the end of all attempts', lambda: self.unfinished() == 0, seconds=HANG)
        except AssertionError:
            rows = self.database.rows(
                'select a.id, s.workflow_name, a.state_flags, o.owner, o.version from session_attempts a join sessions s on s.id = a.session_id '
                'left join digdag_native_attempts o on o.id = a.id where a.state_flags & 2 = 0 order by a.id limit 10')
            self.problems.append(f'attempts that hang: {self.unfinished()}')
            for row in rows:
                tasks = self.database.rows('select t.id, d.full_name, t.state, t.retry_at, t.retry_count from tasks t join task_details d on d.id = t.id '
                                           f'where t.attempt_id = {int(row[0])} and t.state not in (5, 6, 7, 8) order by t.id')
                self.problems.append(f'  attempt {row}: {tasks}')

    def unfinished(self):
        return int(self.database.rows('select count(*) from session_attempts where state_flags & 2 = 0')[0][0])

    def check(self, same_process_once=True, lost_commits=0):
        """`lost_commits`: how often the database crashed, which may undo hand-overs that were not acknowledged to anybody."""
        self.check_attempts()
        self.check_archives()
        self.check_nothing_is_left()
        self.check_marks(same_process_once, lost_commits)
        self.check_schedules()
        self.check_logs()
        return self.problems

    def problem(self, text):
        self.problems.append(text)

    def check_attempts(self):
        rows = {int(row[0]): row[1:] for row in self.database.rows(
            'select a.id, s.workflow_name, a.attempt_name, a.state_flags from session_attempts a join sessions s on s.id = a.session_id')}
        for attempt, (workflow, session, name) in self.load.acknowledged.items():
            if attempt not in rows:
                self.problem(f'attempt {attempt} ({workflow} {session} {name}) was acknowledged and is gone')
                continue
            stored_workflow, stored_name, flags = rows[attempt]
            if (stored_workflow, stored_name) != (workflow, name):
                self.problem(f'attempt {attempt} was acknowledged as {workflow} {name} and is {stored_workflow} {stored_name}')
            killed = attempt in self.load.killed
            if not int(flags) & DONE or bool(int(flags) & SUCCESS) == killed or (killed and not int(flags) & CANCEL):
                self.problem(f'attempt {attempt} of {workflow} has the flags {flags}')
        names = collections.Counter((row[0], row[1]) for row in rows.values() if row[0] in ('load', 'endless'))
        self.problems += [f'{count} attempts of {name}' for name, count in names.items() if count != 1]
        if len(names) != len(self.load.acknowledged):
            self.problem(f'{len(names)} attempts are stored, {len(self.load.acknowledged)} were acknowledged')
        self.attempts = rows

    def check_archives(self):
        archives = self.database.rows('select id, tasks from task_archives')
        if len(archives) != len(self.attempts):
            self.problem(f'{len(archives)} archives of {len(self.attempts)} attempts')
        for attempt, text in archives:
            tasks = json.loads(text)
            ids = [task.get('id') for task in tasks]
            if len(set(ids)) != len(ids):
                self.problem(f'attempt {attempt} has a task twice: {ids}')
            # A retried group leaves its first rows.
            names = collections.Counter(task['fullName'] for task in tasks)
            twice = [name for name, count in names.items() if count > (2 if '+group' in name else 1)]
            if twice:
                self.problem(f'attempt {attempt} has rows twice: {twice}')
            open_ones = [(task['fullName'], task['state']) for task in tasks if task['state'] not in (
                'success', 'error', 'group_error', 'canceled') and not (task['state'] in ('blocked', 'planned') and int(attempt) in self.load.killed)]
            if open_ones:
                self.problem(f'attempt {attempt} is archived with {open_ones}')

    def check_nothing_is_left(self):
        for table in ('tasks', 'task_details', 'task_dependencies', 'queued_tasks', 'queued_task_locks', 'digdag_native_attempts',
                      'digdag_native_events', 'delayed_session_attempts', 'session_monitors', 'resuming_tasks'):
            count = self.database.rows(f'select count(*) from {table}')[0][0]
            if count != '0':
                self.problem(f'{count} rows are left in {table}')
        if self.server.process.poll() is not None:
            left = wait_for_none(self.server.processes)
            if left:
                self.problem(f'processes are left: {left}')

    def check_marks(self, same_process_once, lost_commits):
        begun, ended = collections.defaultdict(list), collections.Counter()
        with open(self.server.marks, encoding='utf-8') as file:
            for line in file:
                what, attempt, task, _, process = line.split()
                if what == 'begin':
                    begun[(int(attempt), task)].append(int(process))
                else:
                    ended[(int(attempt), task)] += 1
        again = 0
        for (attempt, task), processes in begun.items():
            if attempt not in self.attempts:
                self.problem(f'{task} of attempt {attempt} ran, and there is no such attempt')
            expected = 2 if task == 'again' else 1
            again += max(0, len(processes) - expected)
            most = max(collections.Counter(processes).values())
            if same_process_once and most > expected:
                self.problem(f'{task} of attempt {attempt} began {most} times in one process: {processes}')
            seen = self.load.succeeded.get((attempt, task))
            if seen is not None and not lost_commits and max(processes) > seen:
                self.problem(f'{task} of attempt {attempt} was shown as a success by process {seen} and ran again: {processes}')
        for attempt, (workflow, _, _) in self.load.acknowledged.items():
            if workflow != 'load':
                continue
            tasks = ['first', 'turn0', 'turn1', 'turn2', 'again', 'last']
            missing = [task for task in tasks if not ended[(attempt, task)]]
            if missing:
                self.problem(f'attempt {attempt} ended without {missing}')
            if lost_commits:
                continue
            # What follows begins after the commit of what it follows: by then that is over for ever.
            for before, after in zip([['first'], tasks[1:4], ['again']], [tasks[1:4], ['again'], ['last']]):
                for one in before:
                    for other in after:
                        if begun[(attempt, one)] and begun[(attempt, other)] and max(begun[(attempt, one)]) > min(begun[(attempt, other)]):
                            self.problem(f'attempt {attempt}: {one} ran again after {other} had begun')
        self.again = again
        self.runs = sum(len(processes) for processes in begun.values())

    def check_schedules(self):
        rows = self.database.rows("select s.session_time, count(a.id) from sessions s left join session_attempts a on a.session_id = s.id "
                                  "where s.workflow_name = 'every_second' group by s.id, s.session_time order by s.session_time")
        times = [int(row[0]) for row in rows]
        wrong = [row for row in rows if row[1] != '1']
        if wrong:
            self.problem(f'sessions of the schedule without exactly one attempt: {wrong[:5]}')
        gaps = [(one, other) for one, other in zip(times, times[1:]) if other != one + 1]
        if gaps:
            self.problem(f'sessions of the schedule are missing between {gaps[:5]}')
        if not times:
            self.problem('the schedule started nothing')
        self.scheduled = len(times)

    # Tasks that are to fail, or to be killed.
    expected_errors = (r'\+load\+group', r'\+endless\+parallel')

    def check_logs(self):
        text = self.server.log_text()
        expected = re.compile('|'.join(self.expected_errors))
        unexpected = [line for line in text.splitlines() if re.search(r'\[ERROR\]|^terminate|^error:|AddressSanitizer', line) and not expected.search(line)]
        for line in unexpected[:10]:
            self.problem('the log says: ' + line[:400])
        self.problems += ['the log of PostgreSQL says: ' + line for line in self.database.trouble()[:5]]


def wait_for_none(find):
    until = time.monotonic() + 60
    while find() and time.monotonic() < until:
        time.sleep(0.1)
    return find()


class Scene:
    """A directory, a database and a server, cleared away at the end; kept where something was wrong."""

    def __init__(self, database, more=''):
        self.directory = tempfile.mkdtemp(prefix='digdag-faults-')
        self.database = DATABASES[database](self.directory)
        self.server = Server(self.directory, self.database, more)
        self.good = False

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if self.server.process and self.server.process.poll() is None:
            self.server.kill()
        for pid, _ in self.server.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.database.stop()
        if self.good and kind is None:
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            print('see ' + self.directory)


def conclude(scene, problems, told):
    """Prints what was found; the exit code."""
    scene.good = not problems
    print(told)
    for problem in problems[:40]:
        print('WRONG: ' + problem)
    print('1 passed, 0 failed' if scene.good else '0 passed, 1 failed')
    return 0 if scene.good else 1
