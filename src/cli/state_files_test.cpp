#include "cli/state_files.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"

namespace digdag::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SavedState : public testing::Test {
 protected:
  SavedState() : directory_(mkdtemp(std::string("/tmp/digdag-state-XXXXXX").data())) {}
  ~SavedState() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
  std::string problem_;
};

engine::TaskResult result() {
  engine::TaskResult result;
  result.subtask_config = parse_json(R"({"+a":{"echo>":"1"}})");
  result.export_params = parse_json(R"({"half":0.5,"text":"010","none":null})");
  result.store_params = parse_json(R"({"deep":{"list":[1,"1",true,"yes"]}})");
  result.reset_store_params = {"http.last_status", "pg"};
  result.literal_paths = {"/+a/_export/v"};
  return result;
}

TEST_F(SavedState, ComesBackWhole) {
  const engine::TaskResult saved = result();
  {
    StateFiles files(directory_, "w", StateFiles::Use::run);
    files.save("+w+t", &saved, "digest");
    files.close();
  }
  const StateFiles files(directory_, "w", StateFiles::Use::run);
  const auto loaded = files.load("+w+t", problem_);
  ASSERT_TRUE(loaded) << problem_;
  EXPECT_EQ(to_json(loaded->subtask_config), to_json(saved.subtask_config));
  EXPECT_EQ(to_json(loaded->export_params), to_json(saved.export_params));
  EXPECT_EQ(to_json(loaded->store_params), to_json(saved.store_params));
  EXPECT_EQ(loaded->reset_store_params, saved.reset_store_params);
  EXPECT_EQ(loaded->literal_paths, saved.literal_paths);
  EXPECT_FALSE(files.was_edited("+w+t", "digest"));
  EXPECT_TRUE(files.was_edited("+w+t", "another"));
}

TEST_F(SavedState, IsWrittenAsTheOriginalReadsIt) {  // decisions C-27: exactly three keys
  const engine::TaskResult saved = result();
  StateFiles files(directory_, "w", StateFiles::Use::run);
  files.save("+w+t", &saved, "");
  const std::string text = read_file(directory_ / "+w+t.yml");
  EXPECT_THAT(text, testing::StartsWith("fullName: \"+w+t\"\nstate: \"success\"\nresult:\n"));
  EXPECT_THAT(text, HasSubstr("resetStoreParams:\n"));
}

TEST_F(SavedState, EndsWhenTheTaskRunsAgain) {
  const engine::TaskResult saved = result();
  StateFiles files(directory_, "w", StateFiles::Use::run);
  files.save("+w+t", &saved, "");
  files.remove("+w+t");
  EXPECT_FALSE(files.load("+w+t", problem_));
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) left.push_back(entry.path().filename());
  EXPECT_THAT(left, ElementsAre(".lock+w"));
}

TEST_F(SavedState, HasAFileForEveryName) {
  const std::string long_name(300, 'x');
  StateFiles files(directory_, std::string(251, 'w'), StateFiles::Use::run);
  EXPECT_GE(files.lock_file(), 0);
  for (const std::string& name : {"+" + long_name + "1", "+" + long_name + "2", "+\u00e4" + long_name}) {
    engine::TaskResult saved;
    saved.store_params = Value::object({{"of", name}});
    saved.literal_paths = {"/x"};
    files.save(name, &saved, "");
    const auto loaded = files.load(name, problem_);
    ASSERT_TRUE(loaded) << problem_ << files.first_failure();
    EXPECT_EQ(loaded->store_params.find("of")->as_string(), name);
    EXPECT_THAT(loaded->literal_paths, ElementsAre("/x"));
  }
}

TEST_F(SavedState, OfOneSessionIsForOneRunAtATime) {  // clarifications 1.6
  StateFiles first(directory_, "w", StateFiles::Use::run);
  EXPECT_THROW(StateFiles(directory_, "w", StateFiles::Use::run), SessionInUse);
  EXPECT_NO_THROW(StateFiles(directory_, "w", StateFiles::Use::look));
  EXPECT_NO_THROW(StateFiles(directory_, "other", StateFiles::Use::run));
  first.close();
  EXPECT_NO_THROW(StateFiles(directory_, "w", StateFiles::Use::run));
}

TEST_F(SavedState, OfTwoWorkflowsShareTheDigests) {
  StateFiles first(directory_, "a", StateFiles::Use::run), second(directory_, "b", StateFiles::Use::run);
  first.save("+a+t", nullptr, "1");
  second.save("+b+t", nullptr, "2");
  second.close();
  first.close();
  const StateFiles later(directory_, "a", StateFiles::Use::look);
  EXPECT_TRUE(later.was_edited("+a+t", "x"));
  EXPECT_TRUE(later.was_edited("+b+t", "x"));
}

TEST_F(SavedState, ThatCannotBeWrittenIsCounted) {
  std::filesystem::remove_all(directory_);
  write_new_file(directory_, "a file in the way", 0644);
  StateFiles files(directory_, "w", StateFiles::Use::run);
  files.save("+w+a", nullptr, "");
  files.save("+w+b", nullptr, "");
  EXPECT_EQ(files.failures(), 2U);
  EXPECT_THAT(files.first_failure(), HasSubstr(directory_.string()));
}

}  // namespace
}  // namespace digdag::cli
