"""A PostgreSQL server of a test: real, in a directory of its own, at a socket there."""
import getpass
import glob
import os
import pwd
import shutil
import subprocess
import tempfile

BIN = sorted(glob.glob('/usr/lib/postgresql/*/bin'))[-1]


class Server:
    """Ended by `stop`. Commands of it run as the user postgres where the test runs as root, whom it refuses."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix='digdag-postgresql-')
        self.as_user = {}
        if getpass.getuser() == 'root':
            entry = pwd.getpwnam('postgres')
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
            self.as_user = {'user': entry.pw_uid, 'group': entry.pw_gid, 'extra_groups': []}
        self.run('initdb', '-D', os.path.join(self.directory, 'data'), '-U', 'digdag', '--auth=trust', '--no-sync', '--no-instructions',
                 '-E', 'UTF8', '--locale=C.UTF-8')
        self.start()

    def start(self):
        self.run('pg_ctl', '-D', os.path.join(self.directory, 'data'), '-w', '-l', os.path.join(self.directory, 'log'), '-o',
                 f"-k {self.directory} -c listen_addresses='' -c fsync=off", 'start')

    def halt(self, mode):
        """`immediate` is a crash, `fast` ends what is under way. It can be started again."""
        self.run('pg_ctl', '-D', os.path.join(self.directory, 'data'), '-w', '-m', mode, 'stop')

    def stop(self):
        self.halt('immediate')
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, program, *words, text=''):
        done = subprocess.run([os.path.join(BIN, program), *words], input=text, capture_output=True, text=True, cwd=self.directory, check=False,
                              **self.as_user)
        if done.returncode != 0:
            raise AssertionError(f'{program} {words}: {done.stdout}{done.stderr}')
        return done.stdout

    def psql(self, database, text):
        """What it prints, one line a row, columns between `|`."""
        return self.run('psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', self.directory, '-U', 'digdag', '-d', database, text=text)

    def create(self, database):
        self.psql('postgres', f'create database {database}')

    def settings(self, database):
        """The configuration of digdag for it."""
        return (f'database.type = postgresql\ndatabase.host = {self.directory}\ndatabase.user = digdag\n'
                f'database.database = {database}\n')
