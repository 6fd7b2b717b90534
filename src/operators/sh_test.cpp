#include <sys/stat.h>

#include "operators/script_test.h"

namespace digdag::operators {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

class Sh : public ScriptTest {
 protected:
  /// What a script prints; the keys of its task as JSON.
  std::string output_of(std::string_view local, std::string_view inherited = "{}") {
    const Ended ended = run("sh", local, inherited);
    EXPECT_EQ(ended.error, "");
    return ended.output;
  }
};

TEST_F(Sh, RunsItsTextAsAScript) {
  EXPECT_EQ(output_of(R"({"sh>": "echo $((1+2)) \"$HOME_X\" && echo err >&2"})"), "3 \nerr\n");
  EXPECT_EQ(output_of(R"({"sh>": "false\necho continues\n"})"), "continues\n");
}

// operators 14.99
TEST_F(Sh, PassesTheTextUnchanged) {
  EXPECT_EQ(output_of(R"({"sh>": "cat <<'E'\n\"q' $X `x` \\\\ 日本語\nE"})"), "\"q' $X `x` \\\\ 日本語\n");
}

// operators 14.102
TEST_F(Sh, FailsWithTheExitCodeOfTheScript) {
  EXPECT_EQ(run("sh", R"({"sh>": "exit 3"})").error, "Command failed with code 3 (runtime)");
  EXPECT_EQ(run("sh", R"({"sh>": "this_command_does_not_exist_xyz"})").error, "Command failed with code 127 (runtime)");
}

TEST_F(Sh, SaysWhatItsExitCodeMeans) {
  file("plain.sh", "echo x");
  EXPECT_THAT(run("sh", R"({"sh>": "./plain.sh"})").hint, AllOf(HasSubstr("the last output names it"), HasSubstr("chmod +x")));
  EXPECT_THAT(run("sh", R"({"sh>": "nosuch_xyz"})").hint, AllOf(HasSubstr("the last output names it"), HasSubstr("was not found")));
  EXPECT_THAT(run("sh", R"({"sh>": "exit 127"})").hint, AllOf(HasSubstr("a command was not found"), Not(HasSubstr("output"))));
  EXPECT_EQ(run("sh", R"({"sh>": "exit 3"})").hint, "");
}

TEST_F(Sh, FailsWithTheSignalThatEndedTheScript) {
  EXPECT_EQ(run("sh", R"({"sh>": "kill -9 $$"})").error, "Command was ended by signal 9 (SIGKILL) (runtime)");
}

// operators 14.95, 14.96
TEST_F(Sh, GivesParametersAsVariables) {
  const auto all = output_of(
      R"({"sh>": "env", "local": "x"})",
      R"({"foo": "bar", "num": 3, "flag": true, "obj": {"a": 1.0, "b": [1e7]}, "bad-name": "x", "a.b": 1, "+x": 2, "empty": ""})");
  EXPECT_THAT(
      all, AllOf(HasSubstr("\nfoo=bar\n"), HasSubstr("\nnum=3\n"), HasSubstr("\nflag=true\n"),
                 HasSubstr("\nobj={\"a\":1.0,\"b\":[1.0E7]}\n"), HasSubstr("\nlocal=x\n"), HasSubstr("\nempty=\n"), HasSubstr("_type=sh\n"),
                 HasSubstr("_command=env\n"), HasSubstr("PATH=/usr/bin:/bin\n"), HasSubstr("HOME=/nonexistent\n")));
  EXPECT_THAT(all, AllOf(Not(HasSubstr("bad-name")), Not(HasSubstr("a.b")), Not(HasSubstr("+x"))));
}

TEST_F(Sh, UnsetsAVariableWhoseParameterIsNull) {
  environment.emplace_back("n", "from outside");
  EXPECT_EQ(output_of(R"({"sh>": "echo ${n-unset}"})", R"({"n": null})"), "unset\n");
}

// operators 14.97
TEST_F(Sh, PutsTheTasksOwnEnvOverParameters) {
  EXPECT_EQ(output_of(R"({"sh>": "echo $A $N $H", "_env": {"A": "from env", "N": 5, "H": true}})", R"({"A": "param"})"),
            "from env 5 true\n");
  EXPECT_EQ(output_of(R"({"sh>": "echo ${A-unset}", "_env": {"A": null}})", R"({"A": "param"})"), "unset\n");
}

TEST_F(Sh, TakesAnInheritedEnvForAParameter) {
  EXPECT_EQ(output_of(R"({"sh>": "echo \"[$E3] $_env\""})", R"({"_env": {"E3": "v3"}})"), "[] {\"E3\":\"v3\"}\n");
}

// operators 14.21
TEST_F(Sh, RefusesOtherNamesInEnv) {
  EXPECT_EQ(run("sh", R"({"sh>": "true", "_env": {"BAD-NAME": "x"}})").error, "Invalid _env key name: BAD-NAME (config)");
}

// operators 14.103
TEST_F(Sh, PutsSecretsIntoItsTextAndEnvOnly) {
  secrets = parse_json(R"({"foo": "s3cret"})");
  EXPECT_EQ(output_of(R"({"sh>": "echo ${secret:foo} $F $P", "_env": {"F": "<${secret:foo}>"}})", R"({"P": "${secret:foo}"})"),
            "s3cret <s3cret> ${secret:foo}\n");
}

// operators 14.22, execution 32.89
TEST_F(Sh, FailsWithoutASecretThatItNeeds) {
  EXPECT_EQ(run("sh", R"({"sh>": "echo ${secret:foo.bar}"})").error, "Secret not found for key: 'foo.bar' (secret not found)");
  EXPECT_EQ(run("sh", R"({"sh>": "true", "_env": {"A": "${secret:k}"}})").error, "Secret not found for key: 'k' (secret not found)");
  EXPECT_THAT(leftovers(), IsEmpty());
}

// operators 14.98
TEST_F(Sh, UsesAnotherShell) {
  EXPECT_EQ(output_of(R"({"sh>": "echo $0 $-", "shell": ["bash", "-e"]})").substr(0, 20), ".digdag/tmp/digdag-s");
  EXPECT_EQ(run("sh", R"({"sh>": "false\necho no", "shell": ["bash", "-e"]})").error, "Command failed with code 1 (runtime)");
  EXPECT_EQ(run("sh", R"({"sh>": "false\necho no"})", R"({"sh": {"shell": ["bash", "-e"]}})").error,
            "Command failed with code 1 (runtime)");
  EXPECT_EQ(output_of(R"({"sh>": "false\necho yes", "shell": ["sh"]})", R"({"sh": {"shell": ["bash", "-e"]}})"), "yes\n");
  EXPECT_EQ(run("sh", R"({"sh>": "true", "shell": "bash"})").error,
            "Expected array type for key 'shell' but got \"bash\" (string) (config)");
}

TEST_F(Sh, NamesAShellThatIsNotThere) {
  EXPECT_EQ(run("sh", R"({"sh>": "true", "shell": ["nosh"]})").error,
            "Cannot run program \"nosh\" (in directory \"" + project.string() + "\"): No such program in PATH (/usr/bin:/bin) (runtime)");
}

TEST_F(Sh, NeedsAText) {
  EXPECT_EQ(run("sh", "{}").error, "Parameter '_command' is required but not set (config)");
  EXPECT_EQ(run("sh", R"({"sh>": [1]})").error, "Expected string type for key '_command' but got [1] (array) (config)");
}

// operators 14.105
TEST_F(Sh, RunsInTheWorkspaceAndDoesNotLookForProgramsThere) {
  file("sub/tool", "#!/bin/sh\necho tool\n", 0755);
  task.workspace = project / "sub";
  EXPECT_EQ(output_of(R"({"sh>": "pwd; ./tool"})"), (project / "sub").string() + "\ntool\n");
  EXPECT_EQ(run("sh", R"({"sh>": "tool"})").error, "Command failed with code 127 (runtime)");
  EXPECT_THAT(output_of(R"({"sh>": "echo $0"})"), MatchesRegex("\\.\\./\\.digdag/tmp/digdag-sh-42-[A-Za-z0-9]+/runner\\.sh\n"));
}

TEST_F(Sh, FindsItsFileAlsoWhereTheWorkspaceIsALink) {
  fs::create_directories(project / "a" / "b");
  fs::create_directory_symlink("a/b", project / "link");
  task.workspace = project / "link";
  EXPECT_EQ(output_of(R"({"sh>": "pwd -P"})"), (project / "a" / "b").string() + "\n");
}

TEST_F(Sh, SaysThatItsWorkspaceIsMissing) {
  task.workspace = project / "gone";
  EXPECT_EQ(run("sh", R"({"sh>": "true"})").error, "Cannot run program \"/bin/sh\" (in directory \"" + (project / "gone").string() +
                                                       "\"): its working directory does not exist (runtime)");
}

// operators 14.104
TEST_F(Sh, KeepsItsFileFromOthersAndRemovesIt) {
  EXPECT_THAT(output_of(R"json({"sh>": "echo $0; stat -c %a $0 $(dirname $0)"})json"),
              MatchesRegex("\\.digdag/tmp/digdag-sh-42-[A-Za-z0-9]+/runner\\.sh\n600\n700\n"));
  EXPECT_THAT(leftovers(), IsEmpty());
  run("sh", R"({"sh>": "exit 1"})");
  EXPECT_THAT(leftovers(), IsEmpty());
}

TEST_F(Sh, KeepsItsFileForALookAtItWhereFilesAreKept) {
  io_area.emplace(project, IoArea::Options{.keep = true, .hold = {}});
  output_of(R"({"sh>": "true"})");
  io_area.reset();
  EXPECT_EQ(leftovers().size(), 2U);
}

TEST_F(Sh, NamesTheDirectoryThatItCannotMake) {
  file(".digdag", "a file");
  EXPECT_EQ(run("sh", R"({"sh>": "true"})").error,
            "Cannot create directory " + (project / ".digdag" / "tmp").string() + ": Not a directory (io)");
}

TEST_F(Sh, LeavesTheDirectoryOfAnotherTaskAlone) {
  file(".digdag/tmp/other/file", "x");
  output_of(R"({"sh>": "true"})");
  EXPECT_EQ(leftovers().size(), 2U);
}

}  // namespace
}  // namespace digdag::operators
