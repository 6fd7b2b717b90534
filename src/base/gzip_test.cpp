#include "base/gzip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/error.h"

namespace digdag {
namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string bytes(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  deflate(&stream, Z_FINISH);
  bytes.resize(stream.total_out);
  deflateEnd(&stream);
  return bytes;
}

TEST(Gunzip, GivesTheContentOfAllMembers) {
  EXPECT_EQ(gunzip(gzip("one\n") + gzip("") + gzip("two\n")), "one\ntwo\n");
  const std::string long_text(1'000'000, 'x');
  EXPECT_EQ(gunzip(gzip(long_text)), long_text);
}

TEST(Gunzip, GivesWhatIsThereOfAFileThatIsStillWritten) {
  const std::string whole = gzip("one\n");
  EXPECT_EQ(gunzip(whole + gzip("two\n").substr(0, 5)), "one\n");
}

TEST(Gunzip, LeavesWhatIsNoGzip) { EXPECT_EQ(gunzip("plain"), "plain"); }

TEST(Gunzip, RefusesWhatIsBrokenOrTooLarge) {
  std::string broken = gzip("one\n");
  broken[12] = '\x7f';
  EXPECT_THROW(gunzip(broken), Error);
  EXPECT_THROW(gunzip(gzip("12345"), 4), Error);
}

}  // namespace
}  // namespace digdag
