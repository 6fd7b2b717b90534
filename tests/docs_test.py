#!/usr/bin/env python3
"""Every example in the documentation is run for real and must print what the page shows.

In README.md and docs/, a block

    <!-- run in examples/NAME -->
    ```console
    $ command
    what it prints
    ```

is run by sh in a fresh copy of examples/NAME, all blocks of one page that name the same folder one after the other in the same
copy. `<!-- file examples/NAME/FILE -->` before a block says that the block is that file.

A page with `<!-- server -->` gets a server of its own, `digdag server -m -O DIR` on a free port, that its commands find; where they and their
output name its address, the page shows the usual `127.0.0.1:65432`.

usage: docs_test.py [--update]      --update writes what was printed into the pages
"""
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.environ.get('DIGDAG_SOURCE_DIR', os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get('DIGDAG_BINARY', os.path.join(ROOT, 'build/release/digdag')))
BLOCK = re.compile(r'<!-- (run in|file) (examples\S*) -->\n```(\w*)\n(.*?)```\n', re.DOTALL)


def pages():
    yield os.path.join(ROOT, 'README.md')
    for folder, _, files in os.walk(os.path.join(ROOT, 'docs')):
        for name in sorted(files):
            if name.endswith('.md'):
                yield os.path.join(folder, name)


def masked(text):
    """Without what differs from run to run: times, process ids, durations, ids of any kind."""
    for pattern, mask in [(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}', '<time>'), (r'\d+\.\d+ s\b', '<duration>'),
                          (r'\(\d{4}@', '(<thread>@'), (r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<uuid>'), (r'\bpid \d+', 'pid <pid>'),
                          (r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)', '<instant>'), (r'"archiveMd5":"[^"]*"', '"archiveMd5":"<md5>"'),
                          (r'\d{8}T\d{6}Z', '<stamp>'), (r'[0-9a-f]{16}\.\d+@[-.\w]+', '<log>'), (r'"fileSize":\d+', '"fileSize":<size>'), (r'"agentId":"[^"]*"', '"agentId":"<agent>"'),
                          (r'(?m)^(\w+(\{.*\})?) \d+(\.\d+)?(e[-+]\d+)?$', r'\1 <value>'),
                          (r'127\.0\.0\.1:\d+', '<address>'), (r'digdag-(sh|py)-\d+-\w+', '<io directory>'), (r'\(in [\dhms ]+\)', '(in <duration>)'),
                          (r'\([\dhms ]+ ago\)', '(<duration> ago)')]:
        text = re.sub(pattern, mask, text)
    return text


def example_files(folder):
    """The files that belong to an example, without what somebody who tried it has left there."""
    tracked = subprocess.run(['git', '-C', ROOT, 'ls-files', '-z', '--', folder], stdout=subprocess.PIPE, check=False)
    if tracked.returncode == 0 and tracked.stdout:
        return tracked.stdout.decode().rstrip('\0').split('\0')
    return [os.path.relpath(os.path.join(where, name), ROOT)
            for where, _, names in os.walk(os.path.join(ROOT, folder)) for name in names if '/.digdag' not in where]


class Server:
    """The server of a page."""

    USUAL = '127.0.0.1:65432'

    def __init__(self, top, environment):
        directory = os.path.join(top, 'server')
        os.mkdir(directory)
        info = os.path.join(directory, 'runtime-info.json')
        self.process = subprocess.Popen([BINARY, 'server', '-m', '-q', '-O', 'logs', '-n', '0', '-X', f'server.runtime-info.path={info}', '-X',
                                         'digdag.secret-encryption-key=MDEyMzQ1Njc4OTAxMjM0NQ=='], cwd=directory, env=environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not os.path.exists(info):
            if self.process.poll() is not None:
                sys.exit('the server of a page did not start')
            time.sleep(0.01)
        with open(info, encoding='utf-8') as file:
            self.address = '127.0.0.1:' + str(json.load(file)['local_addresses'][0]['port'])
        while not self.ready():
            time.sleep(0.01)

    def ready(self):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request('GET', '/api/ready')
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def stop(self):
        self.process.kill()
        self.process.wait()


class Copies:
    """Fresh copies of the example folders, one for each folder and page."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix='digdag-docs-')
        os.mkdir(os.path.join(self.top, 'bin'))
        os.symlink(BINARY, os.path.join(self.top, 'bin', 'digdag'))
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith('DIGDAG_') and 'proxy' not in key.lower()}
        # The zone that a machine without another one has.
        self.environment.update(PATH=os.path.join(self.top, 'bin') + ':' + os.environ['PATH'], TZ='Etc/UTC', LC_ALL='C.UTF-8',
                                XDG_CONFIG_HOME=os.path.join(self.top, 'config'))
        self.server = None

    def start_server(self):
        self.server = Server(self.top, self.environment)
        self.environment['DIGDAG_CONFIG'] = f'client.http.endpoint=http://{self.server.address}'

    def folder(self, name):
        copy = os.path.join(self.top, 'home', os.path.basename(name))
        if not os.path.isdir(copy):
            for file in example_files(name):
                target = os.path.join(copy, os.path.relpath(file, name))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy(os.path.join(ROOT, file), target)
        return copy

    def run(self, command, name):
        if self.server:
            command = command.replace(Server.USUAL, self.server.address)
        done = subprocess.run(['sh', '-c', command], cwd=self.folder(name), env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120, check=False)
        output = done.stdout.decode('utf-8', 'replace').replace(os.path.join(self.top, 'home'), '/home/you')
        return output.replace(self.server.address, Server.USUAL) if self.server else output

    def close(self):
        if self.server:
            self.server.stop()
        shutil.rmtree(self.top, ignore_errors=True)


def printed(block, name, copies):
    text = ''
    for command in re.findall(r'^\$ (.*(?:\n> .*)*)', block, re.MULTILINE):
        text += '$ ' + command + '\n'
        output = copies.run(command.replace('\n> ', '\n'), name)
        text += output if output.endswith('\n') or not output else output + '\n'
    return text


def check(page, update):
    with open(page, encoding='utf-8') as source:
        text = source.read()
    copies, wrong = Copies(), []
    if '<!-- server -->' in text:
        copies.start_server()

    def replace(match):
        what, name, language, block = match.groups()
        if what == 'file':
            with open(os.path.join(ROOT, name), encoding='utf-8') as source:
                real = source.read()
        else:
            real = printed(block, name, copies)
        if masked(real) != masked(block):
            wrong.append((name, block, real))
            if update:
                return f'<!-- {what} {name} -->\n```{language}\n{real}```\n'
        return match.group(0)

    new = BLOCK.sub(replace, text)
    copies.close()
    if update and new != text:
        with open(page, 'w', encoding='utf-8') as out:
            out.write(new)
    return wrong


def main():
    update = '--update' in sys.argv[1:]
    failures = 0
    for page in pages():
        for name, shown, real in check(page, update):
            failures += 1
            print(f'{os.path.relpath(page, ROOT)}, {name}: the page shows\n{shown}but this was printed\n{real}')
    if failures and not update:
        print(f'{failures} blocks differ; docs_test.py --update writes what was printed')
    sys.exit(1 if failures and not update else 0)


if __name__ == '__main__':
    main()
