#include "lowbit/base/error.h"

#include <system_error>

namespace lowbit {

void throw_error(ErrorKind kind, std::string message) { throw Error(kind, std::move(message)); }

std::string errno_text(int error_number) { return std::generic_category().message(error_number); }

}  // namespace lowbit
