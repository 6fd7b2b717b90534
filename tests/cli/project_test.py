#!/usr/bin/env python3
"""Projects as archives: what is packed, pushed and unpacked; and new projects."""
import gzip
import io
import os
import stat
import tarfile
import unittest

from fake_server import ClientTest

PROJECT = {'id': '1', 'name': 'p', 'revision': 'r1', 'createdAt': '2026-01-02T03:04:05Z', 'updatedAt': '2026-01-03T03:04:05Z', 'deletedAt': None,
           'archiveType': 'db', 'archiveMd5': None}
WORKFLOW = 'timezone: UTC\n+a:\n  echo>: hi\n'


def archive_of(*entries):
    """Each a name and content, or a name and a link's target behind `-> `."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w:gz') as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if name.endswith('.sh') else 0o644
            if content.startswith('-> '):
                info.type, info.linkname = tarfile.SYMTYPE, content[3:]
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
    return packed.getvalue()


class PushTest(ClientTest):
    answers = {'PUT /api/projects': PROJECT, 'GET /api/projects': {'projects': [PROJECT]}}

    def pushed(self):
        with tarfile.open(fileobj=io.BytesIO(self.server.last('PUT').body)) as tar:
            return {member.name: member for member in tar.getmembers()}

    # cli 11.71
    def test_what_is_packed(self):
        self.file('w.dig', WORKFLOW)
        self.file('.hidden', 'h')
        self.file('sub/run.sh', '#!/bin/sh\n', 0o750)
        self.file('ig/x.log', '1')
        self.file('ig/keep.log', '1')
        self.file('top.txt', '1')
        self.file('sub/top.txt', '1')
        self.file('.digdagignore', '*.log\n!keep.log\n/top.txt\n')
        os.symlink('../w.dig', os.path.join(self.project, 'sub/up'))
        os.mkdir(os.path.join(self.project, 'empty'))
        done = self.client('push', 'p', '-r', 'r1')
        self.assertEqual(done.code, 0, done.err)
        entries = self.pushed()
        self.assertEqual(list(entries), ['ig/keep.log', 'sub/run.sh', 'sub/top.txt', 'sub/up', 'w.dig'])
        self.assertEqual((oct(entries['sub/run.sh'].mode), entries['sub/run.sh'].uid, entries['sub/up'].linkname), ('0o750', 0, '../w.dig'))
        self.assertIn('  Archiving sub/up\n    symlink -> ../w.dig\n', done.out)

    # cli 11.72
    def test_links_that_leave_the_project(self):
        self.file('p/w.dig', WORKFLOW)
        self.file('elsewhere.txt', 'content')
        os.symlink('../elsewhere.txt', os.path.join(self.project, 'p/link'))
        self.assert_error(self.client('push', 'p', '--project', 'p'), 'error: Invalid symbolic link: Given path ', 'Consider to add --copy-outgoing-symlinks option')
        self.assertEqual(self.client('push', 'p', '--project', 'p', '--copy-outgoing-symlinks').code, 0)
        self.assertTrue(self.pushed()['link'].isfile())

    # cli 11.73
    def test_push_shows_what_the_server_has_made_of_it(self):
        self.file('main.dig', WORKFLOW)
        done = self.client('push', 'p', '-r', 'r1', '--schedule-from', '2026-01-01 00:00:00 +0900')
        self.assertEqual(done.code, 0, done.err)
        self.assertRegex(done.out, r'^Creating \.digdag/tmp/archive-[^/]+\.tar\.gz\.\.\.\n  Archiving main\.dig\nWorkflows:\n  main\.dig\nUploaded:\n  id: 1\n'
                         r'  name: p\n  revision: r1\n  archive type: db\n  project created at: 2026-01-02T03:04:05Z\n'
                         r'  revision updated at: 2026-01-03T03:04:05Z\n\nUse `digdag workflows` to show all workflows\.\n$')
        sent = self.server.last('PUT')
        self.assertEqual((sent.query, sent.headers['content-type']), ({'project': 'p', 'revision': 'r1', 'schedule_from': '2025-12-31T15:00:00Z'}, 'application/gzip'))
        self.assertFalse(self.exists('.digdag'))

    # decisions L-12, E-10, E-19, S-02, S-09, S-15
    def test_push_tells_what_is_probably_not_meant(self):
        self.file('main.dig', "timezone: UTC\nschedule:\n  daily>: 25:00:00\n  skip_delayed_by: 1\nsla:\n  duration: 00:01:00\n  foo: 1\n"
                              '+g:\n  _check:\n    echo>: 1\n  +a:\n    echo>: hi\n    check:\n      echo>: nested\n')
        done = self.client('push', 'p')
        self.assertEqual(done.code, 0, done.err)
        for place in ('main.dig:3:3', 'main.dig:4:3', 'main.dig:7:3', 'main.dig:9:3', 'main.dig:13:5'):
            self.assertRegex(done.err, rf'(?m)^warning: {place}: .* \[W-[a-z-]+\]$')
        self.file('main.dig', "timezone: UTC\nschedule:\n  cron>: '@daily'\n+a:\n  echo>: hi\n")
        self.server.answers['PUT /api/projects'] = (400, {'message': 'invalid pattern: "@daily"', 'status': 400})
        self.assert_error(self.client('push', 'p'), 'warning: main.dig:3:3: invalid pattern: "@daily"; instead of @daily and the like write daily>',
                          'error: Status code 400')

    # decisions L-12
    def test_a_strict_push_sends_nothing_that_is_doubtful(self):
        self.file('main.dig', '+a:\n  ecko>: hi\n')
        self.assert_error(self.client('push', 'p', '--strict'), '[W-unknown-operator]', 'error: push --strict found 1 warning\n')
        self.assertEqual(self.server.requests, [])
        self.file('main.dig', WORKFLOW)
        self.assertEqual(self.client('push', 'p', '--strict').code, 0)

    # cli 11.74
    def test_a_revision_without_a_name_gets_a_random_one(self):
        self.file('sub/main.dig', WORKFLOW)
        done = self.client('push', 'p')
        self.assertRegex(self.server.last('PUT').query['revision'], r'^[0-9a-f-]{36}$')
        self.assertIn("  WARNING: This project doesn't include workflows.", done.out)

    # cli 11.75
    def test_what_the_server_refuses(self):
        self.file('main.dig', WORKFLOW)
        self.server.answers['PUT /api/projects'] = (400, {'message': 'Size of the uploaded archive file exceeds limit (2097152 bytes)', 'status': 400})
        self.assert_error(self.client('push', 'p'), 'error: Status code 400: {"message": "Size of the uploaded archive file exceeds limit (2097152 bytes)"')

    # cli 11.76
    def test_nothing_is_sent_of_a_wrong_command_or_project(self):
        self.file('main.dig', WORKFLOW)
        self.assert_error(self.client('push', 'p', '--schedule-from', '2026-01-01'),
                          'error: --schedule-from option must be "yyyy-MM-dd HH:mm:ss Z" format or UNIX timestamp: 2026-01-01\nhint: current local time is "')
        self.assert_error(self.client('push', 'p', '-r', ''), 'Usage: digdag push', 'error: revision cannot be empty')
        self.file('main.dig', 'a: [\n')
        self.assert_error(self.client('push', 'p'), 'error: main.dig:')
        self.assertEqual(self.server.requests, [])

    def test_upload_sends_an_archive(self):
        self.file('main.dig', WORKFLOW)
        self.assertIn('Created a.tgz.\n', self.digdag('archive', '-o', 'a.tgz').out)
        done = self.client('upload', 'a.tgz', 'p', '-r', 'r1')
        self.assertTrue(done.out.startswith('Uploaded:\n  id: 1\n'), done.err)
        self.assertEqual(list(self.pushed()), ['main.dig'])
        self.assert_error(self.client('upload', 'missing.tgz', 'p'), 'error: missing.tgz (no such file)')

    def test_the_same_files_are_the_same_archive(self):
        self.file('main.dig', WORKFLOW)
        for name in ('a.tgz', 'b.tgz'):
            self.assertEqual(self.digdag('archive', '--project', '.', '-o', f'../{os.path.basename(self.home)}/{name}').code, 0)
        contents = []
        for name in ('a.tgz', 'b.tgz'):
            with open(os.path.join(self.home, name), 'rb') as file:
                contents.append(file.read())
        self.assertEqual(contents[0], contents[1])


class DownloadTest(ClientTest):
    answers = {'GET /api/projects': {'projects': [PROJECT]},
               'GET /api/projects/1/archive': archive_of(('w.dig', WORKFLOW), ('q/run.sh', 'x'), ('up', '-> q/run.sh'))}

    # cli 11.77
    def test_files_modes_and_links_are_restored(self):
        self.file('d/w.dig', 'old')
        done = self.client('download', 'p', '-o', 'd')
        self.assertEqual((done.code, done.out), (0, "  d/w.dig\n  d/q/run.sh\n  d/up -> q/run.sh\nExtracted project 'p' revision 'r1' to d.\n"), done.err)
        self.assertEqual(self.server.requests[-1].query, {'revision': 'r1'})
        self.assertEqual((self.content('d/w.dig'), os.readlink(os.path.join(self.project, 'd/up'))), (WORKFLOW, 'q/run.sh'))
        self.assertTrue(os.stat(os.path.join(self.project, 'd/q/run.sh')).st_mode & stat.S_IXUSR)
        self.assertEqual(sorted(os.listdir(os.path.join(self.project, 'd'))), ['q', 'up', 'w.dig'])
        self.server.answers['GET /api/projects/1/archive'] = (404, {})
        self.assert_error(self.client('download', 'p', '-r', 'nope'), "error: Project archive of revision 'nope' does not exist.")
        self.assertFalse(self.exists('p'))

    def test_nothing_is_written_outside(self):
        for entry in (('../out.txt', 'x'), ('out', '-> ../..')):
            self.server.answers['GET /api/projects/1/archive'] = archive_of(('w.dig', WORKFLOW), entry)
            self.assert_error(self.client('download', 'p'), 'error: Bad zip entry')
            self.assertEqual(os.listdir(os.path.join(self.project, 'p')), [])
        os.mkdir(os.path.join(self.project, 'd'))
        os.symlink('..', os.path.join(self.project, 'd/q'))
        self.server.answers['GET /api/projects/1/archive'] = archive_of(('q/run.sh', 'x'))
        self.assert_error(self.client('download', 'p', '-o', 'd'), 'error: Archive includes an invalid entry: q/run.sh')
        self.assertFalse(self.exists('run.sh'))

    def test_what_is_no_archive(self):
        self.server.answers['GET /api/projects/1/archive'] = gzip.compress(b'x' * 1000)
        self.assert_error(self.client('download', 'p'), 'error: Bad zip entry')


class InitTest(ClientTest):
    # cli 11.25, 11.26
    def test_a_new_project_can_be_run(self):
        done = self.digdag('new', 'proj')
        self.assertEqual((done.code, done.out), (0, '  Creating proj/proj.dig\n  Creating proj/.gitignore\n'
                                                 'Done. Type `cd proj` and then `digdag run proj.dig` to run the workflow. Enjoy!\n'))
        self.assertEqual(self.content('proj/.gitignore'), '/.digdag-wrapper\n.digdag\n*.pyc\n')
        self.assertEqual(self.digdag('run', 'proj.dig', '--project', 'proj', '--session', '2026-01-02').code, 0)
        self.file('proj/proj.dig', 'mine')
        done = self.digdag('init', 'proj')
        self.assertEqual((done.code, done.out, self.content('proj/proj.dig')), (0, 'File proj/proj.dig already exists.\n', 'mine'))

    # cli 11.27, 11.31
    def test_where_it_lies(self):
        here = os.path.basename(self.project)
        done = self.digdag('init', '.')
        self.assertIn(f'  Creating ./{here}.dig\n', done.out)
        self.assertIn(f'Done. Type `digdag run {here}.dig` to run', done.out)
        self.assertEqual(self.digdag('init', 'a/b/c/').code, 0)
        self.assertTrue(self.exists('a/b/c/c.dig'))

    # cli 11.28
    def test_types(self):
        for kind, files in (('sh', ['scripts/myscript.sh']), ('ruby', ['scripts/myclass.rb']), ('python', ['scripts/__init__.py', 'scripts/myclass.py']),
                            ('td', ['queries/query.sql']), ('postgresql', [f'queries/{name}.sql' for name in ('create_src_table', 'insert_data_to_src_table', 'summarize_src_table')])):
            name = 'of_' + kind
            done = self.digdag('init', name, '-t', kind)
            self.assertEqual(done.out.splitlines()[:-1], [f'  Creating {name}/{file}' for file in [*files, name + '.dig', '.gitignore']])
            self.assertEqual(self.digdag('check', '--project', name).code, 0)
            missing = {'ruby': 'rb', 'td': 'td', 'postgresql': 'pg'}.get(kind)
            self.assertEqual(done.err.splitlines()[1:], [f'warning: this version of digdag does not have {missing}> yet: tasks with it will fail'] if missing else [])
        self.assertTrue(os.access(os.path.join(self.project, 'of_sh/scripts/myscript.sh'), os.X_OK))
        for kind in ('sh', 'python'):
            done = self.digdag('run', f'of_{kind}.dig', '--project', 'of_' + kind, '--session', '2026-01-02')
            self.assertEqual(done.code, 0, done.err)
            self.assertIn('second cat', done.out)

    def test_files_that_are_there_stay(self):
        self.file('p/scripts/myscript.sh', 'mine')
        self.assertIn('  Exists p/scripts/myscript.sh\n', self.digdag('init', 'p', '-t', 'sh').out)
        self.assertEqual(self.content('p/scripts/myscript.sh'), 'mine')

    # cli 11.29, 11.30
    def test_what_is_refused(self):
        self.assert_error(self.digdag('init', 'p', '-t', 'perl'), 'Usage: digdag init', 'error: --type has an invalid value')
        self.assert_error(self.digdag('init', '1abc'), 'error: Validating workflow failed\nname must not start with a numeric digit (0-9): "1abc" (model validation)')
        self.assert_error(self.digdag('init', 'foo.dig'), 'error: Validating workflow failed\n', '.dig')
        self.assertEqual(os.listdir(self.project), [])

    def test_selfupdate_says_how_to_update(self):
        self.assert_error(self.digdag('selfupdate'), 'error: selfupdate does not exist any more', 'hint: update it the way it was installed')


if __name__ == '__main__':
    unittest.main()
