// Typed errors: every failure names the op, what was found and what was expected.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace md {

/// Order is the order of the classes in errors.js, which the binding throws.
enum class ErrorKind { shape, dtype, device, disposed, outOfMemory, unsupported, value };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

/// Throws an Error with the message "[op] part part …".
template <class... Parts>
[[noreturn]] void fail(ErrorKind kind, const char* op, const Parts&... parts) {
  std::ostringstream out;
  out << '[' << op << "] ";
  (out << ... << parts);
  throw Error(kind, out.str());
}

}  // namespace md
