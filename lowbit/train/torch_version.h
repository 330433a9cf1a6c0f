#pragma once

namespace lowbit::train {

/// Of the libtorch that this program is compiled against: "2.15.0".
const char* torch_version();

}  // namespace lowbit::train
