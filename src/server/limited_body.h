#pragma once

#include <cstdint>
#include <string>

#include "server/asio.h"

namespace digdag::server {

/// For Beast's parser: a body that grows as bytes come, up to a limit that is known only when the head has been read.
struct LimitedBody {
  struct value_type {
    std::string bytes;
    std::uint64_t most = 0;
    bool kept = true;        ///< else it is only counted
    std::uint64_t size = 0;  ///< so much has come
  };

  class reader {
   public:
    template <bool is_request, class Fields>
    reader(boost::beast::http::header<is_request, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>&, boost::system::error_code& error) { error = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, boost::system::error_code& error) {
      std::size_t taken = 0;
      for (auto buffer = boost::asio::buffer_sequence_begin(buffers); buffer != boost::asio::buffer_sequence_end(buffers); ++buffer) {
        const boost::asio::const_buffer bytes = *buffer;
        if (body_.size + bytes.size() > body_.most) {
          error = boost::beast::http::error::body_limit;
          return taken;
        }
        if (body_.kept) body_.bytes.append(static_cast<const char*>(bytes.data()), bytes.size());
        body_.size += bytes.size();
        taken += bytes.size();
      }
      error = {};
      return taken;
    }
    void finish(boost::system::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

}  // namespace digdag::server
