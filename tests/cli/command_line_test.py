#!/usr/bin/env python3
"""The command line itself: words, options, usage texts and where the configuration comes from (spec/cli.md 1, 2)."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import ProgramTest, SESSION  # noqa: E402

BANNER = r'\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}: Digdag v\d+\.\d+\.\d+\n'
COMMANDS = ('run', 'check', 'eval')
WORKFLOW = '+one:\n  echo>: v=${v}\n+two:\n  echo>: second\n'


class CommandLine(ProgramTest):
    def setUp(self):
        super().setUp()
        self.file('w.dig', WORKFLOW)

    def last_line(self, text):
        return text.rstrip('\n').split('\n')[-1]

    def assert_usage(self, done, command='<command>', code=0):
        self.assertEqual(done.code, code, done.err)
        self.assertEqual(done.out, '')
        self.assertRegex(done.err, rf'(?m)^Usage: digdag {command}( |$)')

    # cli 11.1, 11.2
    def test_version_stands_alone_on_standard_output_wherever_it_is_asked_for(self):
        for words in (['--version'], ['run', 'nofile.dig', '--version'], ['run', 'w.dig', '--version'], ['-J-Xmx300m', '--version']):
            done = self.digdag(*words)
            self.assertEqual((done.code, done.err), (0, ''), words)
            self.assertRegex(done.out, r'\A\d+\.\d+\.\d+\n\Z')
        self.assertFalse(self.exists('.digdag'), 'something ran')

    # cli 11.3, 11.4
    def test_no_words_or_a_question_for_help_give_the_usage_behind_the_banner(self):
        for words in ([], ['--help'], ['-help'], ['--help', 'run', 'w.dig']):
            done = self.digdag(*words)
            self.assert_usage(done)
            self.assertRegex(done.err, BANNER + 'Usage: digdag')
            self.assertNotIn('error:', done.err)
        self.assertFalse(self.exists('.digdag'), 'something ran')

    # cli 11.5, 11.18: the commands of the server and its clients stand in a list of their own until they come
    def test_an_unknown_command_gets_the_usage_and_the_commands_that_there_are(self):
        for word in ('frobnicate', 'help', 'RUN', 'ru', 'Check'):
            done = self.digdag(word, 'w.dig')
            self.assert_usage(done, code=1)
            line = self.last_line(done.err)
            self.assertTrue(line.startswith('error: available commands are: ['), line)
            for command in ('init', 'run', 'check', 'scheduler', 'server', 'push', 'secrets', 'selfupdate'):
                self.assertRegex(line, rf'\b{command}\b')

    def test_a_misspelt_word_is_answered_with_the_nearest_one(self):
        for word, command in (('rum', 'run'), ('rnu', 'run'), ('chekc', 'check'), ('Check', 'check')):
            self.assertTrue(self.digdag(word, 'w.dig').err.endswith(f"; '{word}' is none of them, did you mean '{command}'?\n"))
        self.assertTrue(self.digdag('frobnicate').err.endswith("; 'frobnicate' is none of them\n"))
        for word, option in (('--sesion', '--session'), ('--sesion=daily', '--session'), ('-session', '--session'), ('--rerum', '--rerun')):
            self.assertTrue(self.digdag('run', 'w.dig', word).err.endswith(f'\nerror: Unknown option: {word}\nhint: did you mean {option}?\n'))

    # cli 11.6: with the error line of decisions C-01
    def test_an_option_before_the_command_that_is_unknown_there_is_named_behind_the_usage(self):
        for words in (['--frob'], ['-l', 'debug', 'check']):
            done = self.digdag(*words)
            self.assert_usage(done)
            self.assertEqual(self.last_line(done.err), 'error: Unknown option before the command: ' + words[0])
            self.assertEqual(self.digdag(*words, DIGDAG_STRICT_EXIT='1').code, 2)

    def test_nothing_of_a_word_is_obeyed_by_the_terminal(self):
        for word in ('x\x1b[2J', '--\x1b[2J'):
            self.assertIn(r'\u001b[2J', self.last_line(self.digdag(word).err))

    # cli 11.7
    def test_a_configuration_file_is_given_before_or_after_the_command_and_the_later_one_counts(self):
        self.file('c', 'params.k=first\n')
        self.file('d', 'params.k=second\n')
        before, after = self.digdag('-c', 'c', 'check'), self.digdag('check', '--config', 'c')
        self.assertIn('    k: "first"\n', before.out)
        self.assertEqual((before.code, before.out), (after.code, after.out))
        self.assertIn('    k: "second"\n', self.digdag('-c', 'c', 'check', '-c', 'd').out)

    # cli 11.8
    def test_a_configuration_file_that_is_missing_is_an_error(self):
        for words in (['check', '-c', 'missing'], ['-c', 'missing', 'run', 'w.dig']):
            done = self.digdag(*words)
            self.assertEqual((done.code, done.out), (1, ''))
            self.assertEqual(self.last_line(done.err), 'error: missing (no such file)')

    def test_a_broken_configuration_file_is_named(self):
        self.file('broken', 'a = 1\nb = \\u00zz\n')
        done = self.digdag('check', '-c', 'broken')
        self.assertEqual(done.code, 1)
        self.assertIn('error: Malformed', done.err)
        self.assertEqual(self.last_line(done.err), 'hint: in the configuration file broken')

    # cli 11.9, 11.10, 11.11, 11.12, 11.13
    def test_a_wrong_option_is_refused_without_usage_before_anything_runs(self):
        cases = (
            (['--frob'], 'Unknown option: --frob'),
            (['--session'], 'Expected a value after parameter --session'),
            (['--session', 'daily', '--session', 'hourly'], 'Can only specify option -t once.'),
            (['--no-save', '--no-save'], 'Can only specify option --no-save once.'),
            (['--max-task-threads', 'x'], '"--max-task-threads": couldn\'t convert "x" to an integer'),
            (['-X', 'abc'], 'Dynamic parameter expected a value of the form a=b but got:abc'),
            (['-p', 'v'], 'Parameter -p expected a value of the form a=b but got:v'),
        )
        for words, message in cases:
            done = self.digdag('run', 'w.dig', *words)
            self.assertEqual((done.code, done.out), (1, ''), words)
            self.assertRegex(done.err, BANNER + r'error: [^\n]*\n\Z')
            self.assertEqual(self.last_line(done.err), 'error: ' + message)
        self.assertFalse(self.exists('.digdag'))

    # cli 11.13
    def test_keys_of_the_configuration_are_glued_to_their_option_or_not(self):
        for words in (['-Xparams.v=1'], ['-X', 'params.v=1']):
            self.assertIn('\nv=1\n', self.digdag('run', 'w.dig', *SESSION, '--no-save', *words).out)

    # cli 11.14: of glued values only those of long options are taken (decisions C-02)
    def test_a_value_is_glued_to_a_long_option_only(self):
        self.assertIn('\nv=1\n', self.digdag('run', 'w.dig', *SESSION, '--no-save', '--param=v=1').out)
        self.assert_error(self.digdag('run', 'w.dig', *SESSION, '-pv=1'), 'error: Unknown option: -pv=1\n')

    # cli 11.15
    def test_a_log_level_is_known_in_small_letters_only(self):
        for level in ('verbose', 'INFO', ''):
            for words in (['check'], ['run', 'w.dig', *SESSION]):
                done = self.digdag(*words, '-l', level)
                self.assert_usage(done, code=1)
                self.assertEqual(self.last_line(done.err), f"error: Unknown log level '{level}'")

    # cli 11.16
    def test_help_of_a_command_wins_over_whatever_else_is_said(self):
        for command in COMMANDS:
            for words in (['--help'], ['-help'], ['x', '--help', '--frob'], ['--max-task-threads', 'x', '-l', 'loud', '--help'], ['-p', 'v', '--help']):
                done = self.digdag(command, *words)
                self.assert_usage(done, command)
                self.assertNotIn('error:', done.err)

    # cli 11.17
    def test_two_dashes_end_the_options(self):
        self.assert_usage(self.digdag('run', '--', 'w.dig', '+one', '--no-save'), 'run')
        self.assertIn('\nv=1\n', self.digdag('run', '--no-save', '-p', 'v=1', *SESSION, '--', 'w.dig', '+one').out)

    # cli 11.20: for the commands of this build
    def test_too_few_or_too_many_words_give_the_usage_of_the_command(self):
        for words in (['run'], ['run', ''], ['run', 'a', 'b', 'c'], ['check', 'a', 'b'], ['eval']):
            self.assert_usage(self.digdag(*words), words[0])
            self.assertEqual(self.digdag(*words, DIGDAG_STRICT_EXIT='1').code, 2, words)

    # cli 11.19: for the commands of this build
    def test_the_short_names_of_run_and_check(self):
        self.assertIn('\nv=1\n', self.digdag('r', 'w.dig', '--no-save', *SESSION, '-p', 'v=1').out)
        self.assertEqual(self.digdag('c').out, self.digdag('check').out)

    # cli 11.109
    def test_words_for_a_java_machine_at_the_front_are_swallowed(self):
        done = self.digdag('-J-Xmx300m', '-J-server', 'check')
        self.assertEqual((done.code, done.out), (0, self.digdag('check').out))
        self.assertNotIn('-J', done.err)

    def test_properties_among_them_are_keys_of_the_configuration(self):
        words = ('-J-Xmx300m', '-J-Dparams.v=1', '-J', 'options', '-J-Dparams.empty')
        self.assertIn('\nv=1\n', self.digdag(*words, 'run', 'w.dig', *SESSION, '--no-save').out)
        self.assertIn('  Parameters:\n    empty: ""\n    v: "1"\n', self.digdag(*words, 'check').out)
        self.assertIn('    v: "2"\n', self.digdag(*words, 'check', '-X', 'params.v=2').out)
        self.assertEqual(self.digdag(*words, 'eval', 'x').out, '"x"\n')

    def test_eval_takes_parameters_as_run_does(self):
        self.file('sub/p.yml', 'v: {n: 1}\n!include : more.yml\n')
        self.file('sub/more.yml', 'w: 3\n')
        done = self.digdag('eval', '-P', 'sub/p.yml', '-p', 'v.m=2', '${JSON.stringify(v)} ${w}')
        self.assertEqual(done.out, '"{\\"n\\":1,\\"m\\":\\"2\\"} 3"\n')
        self.assert_error(self.digdag('eval', '-P', 'nope.yml', 'x'), 'error: nope.yml (no such file)')

    def test_a_configuration_of_javas_logger_must_exist_and_does_nothing(self):
        self.file('logback.xml', '<configuration/>\n')
        for command in (['run', 'w.dig', *SESSION, '--no-save', '-p', 'v=1'], ['check']):
            done = self.digdag(*command, '--logback-config', 'logback.xml')
            self.assertEqual((done.code, done.err.count('warning: --logback-config logback.xml is ignored')), (0, 1))
            done = self.digdag(*command, '--logback-config', 'missing.xml')
            self.assertEqual((done.code, done.out), (1, ''))
            self.assertEqual(self.last_line(done.err), 'error: missing.xml (no such file)')


class Configuration(ProgramTest):
    def setUp(self):
        super().setUp()
        self.file('w.dig', WORKFLOW)
        self.file('c', 'params.v=file\n')

    def default_file(self, text):
        os.makedirs(os.path.join(self.home, 'digdag'), exist_ok=True)
        with open(os.path.join(self.home, 'digdag/config'), 'wb') as config:
            config.write(text if isinstance(text, bytes) else text.encode())

    def value(self, *words, **environment):
        """What `run` and `check` both see of `params.v`."""
        done = self.digdag('run', 'w.dig', '+one', '--no-save', *SESSION, *words, **environment)
        self.assertEqual(done.code, 0, done.err)
        seen = [line[2:] for line in done.out.split('\n') if line.startswith('v=')]
        self.assertEqual(len(seen), 1, done.out)
        self.assertIn(f'    v: "{seen[0]}"\n', self.digdag('check', *words, **environment).out)
        return seen[0]

    # cli 11.21, server 23.8, 23.10
    def test_a_file_on_the_command_line_beats_a_key_on_it_and_that_the_environment_and_that_the_default_file(self):
        self.default_file('params.v=default\n')
        self.assertEqual(self.value(), 'default')
        self.assertEqual(self.value(DIGDAG_CONFIG='params.v=environment'), 'environment')
        self.assertEqual(self.value('-X', 'params.v=key', DIGDAG_CONFIG='params.v=environment'), 'key')
        self.assertEqual(self.value('-X', 'params.v=key', '-c', 'c', DIGDAG_CONFIG='params.v=environment'), 'file')
        self.default_file('params.v=default\nparams.only=here\n')
        self.assertIn('    only: "here"\n', self.digdag('check').out)
        self.assertNotIn('only', self.digdag('check', '-c', 'c').out)

    # cli 11.22, server 23.12
    def test_the_configuration_home_has_two_variables_and_the_own_one_wins(self):
        self.default_file('params.v=xdg\n')
        self.file('own/config', 'params.v=own\n')
        self.assertEqual(self.value(), 'xdg')
        self.assertEqual(self.value(DIGDAG_CONFIG_HOME='own'), 'own')
        self.assertEqual(self.value(DIGDAG_CONFIG_HOME='own', XDG_CONFIG_HOME=''), 'own')
        self.file('home/.config/digdag/config', 'params.v=home\n')
        self.assertEqual(self.value(XDG_CONFIG_HOME='', HOME=os.path.join(self.project, 'home')), 'home')

    # cli 11.23, server 23.11
    def test_configuration_files_are_properties(self):
        for text, value in ((b'params.v: colon\n', 'colon'), (b'params.v blank\n', 'blank'), (b'# no\n! no\n  params.v =  trimmed\n', 'trimmed'),
                            (b'params.v = a,\\\n    b\n', 'a,b'), (b'params.v=\\u3042\n', '\u3042'), (b'params.v=caf\xe9\n', 'caf\u00e9'),
                            (b'params.v=1\nparams.v=2\n', '2'), (b'params\\.v=a\\tb\n', 'a\tb')):
            self.default_file(text)
            done = self.digdag('run', 'w.dig', '+one', '--no-save', *SESSION)
            self.assertIn(f'\nv={value}\n', done.out, text)

    # cli 11.24
    def test_dots_of_a_key_nest(self):
        self.file('n.dig', '+a:\n  echo>: ${JSON.stringify(a)}\n')
        words = ('-X', 'params.a.b=1', '-X', 'params.a.c.d=2')
        self.assertIn('\n{"b":"1","c":{"d":"2"}}\n', self.digdag('run', 'n.dig', '--no-save', *SESSION, *words).out)
        self.assertIn('    a:\n      b: "1"\n      c:\n        d: "2"\n', self.digdag('check', *words).out)


if __name__ == '__main__':
    unittest.main()
