#include <gtest/gtest.h>

#include "lowbit/base/error.h"
#include "lowbit/formats/format.h"

namespace lowbit {
namespace {

Scheme mixed(std::string_view format, std::string_view layers) {
  Scheme scheme = default_scheme(parse_format(format));
  scheme.layer_formats = parse_layer_formats(layers);
  return scheme;
}

TEST(LayerFormats, AreReadBackAsTheyAreWritten) {
  for (const char* text :
       {"", "down=w2a3", "down=w2a3,blocks.0.*=w4a4", "*=fp4", "model.layers.1.mlp.up_proj.weight=w2a8+2:4"})
    EXPECT_EQ(text_of(parse_layer_formats(text)), text);
}

TEST(LayerFormats, NameLayersByKindByBlockAndByTensorWithStars) {
  const auto named = [](std::string_view rule, std::int64_t block, LayerKind kind) {
    return parse_layer_formats(std::string(rule) + "=w8a8").front().names(block, kind);
  };
  EXPECT_TRUE(named("down", 3, LayerKind::down));
  EXPECT_FALSE(named("down", 3, LayerKind::up));
  EXPECT_FALSE(named("o", 3, LayerKind::down));
  EXPECT_TRUE(named("blocks.3.*", 3, LayerKind::q));
  EXPECT_FALSE(named("blocks.3.*", 13, LayerKind::q));
  EXPECT_FALSE(named("blocks.1.*", 11, LayerKind::q));
  EXPECT_TRUE(named("blocks.*.gate", 12, LayerKind::gate));
  EXPECT_TRUE(named("*attn*", 0, LayerKind::o));
  EXPECT_FALSE(named("*attn*", 0, LayerKind::gate));
  EXPECT_TRUE(named("model.layers.2.mlp.down_proj.weight", 2, LayerKind::down));
  EXPECT_FALSE(named("model.layers.2.mlp.down_proj", 2, LayerKind::down));
  EXPECT_TRUE(named("*", 0, LayerKind::v));
}

TEST(LayerFormats, TheLastThatNamesALayerHoldsAndOthersHaveTheSchemes) {
  const Scheme scheme = mixed("w2a2", "down=w2a3,blocks.0.*=w4a4,blocks.0.o=bf16");
  EXPECT_EQ(scheme.word_of(0, LayerKind::down).name(), "w4a4");
  EXPECT_EQ(scheme.word_of(0, LayerKind::o).name(), "bf16");
  EXPECT_EQ(scheme.word_of(1, LayerKind::down).name(), "w2a3");
  EXPECT_EQ(scheme.word_of(1, LayerKind::q).name(), "w2a2");
  EXPECT_EQ(scheme.words().size(), 4u);
  EXPECT_EQ(scheme.name(), "w2a2 with down=w2a3,blocks.0.*=w4a4,blocks.0.o=bf16");
  EXPECT_NO_THROW(scheme.check());
}

TEST(LayerFormats, WordsThatSayNothingAreRefused) {
  for (const char* text : {"down", "=w4a4", "dwn=w4a4", "down=w9a9", "down=w2a3,", ",down=w2a3", "down=", "Down=w2a2"})
    EXPECT_THROW(parse_layer_formats(text), Error) << text;
}

TEST(LayerFormats, MixturesThatNoArithmeticHasAreRefused) {
  EXPECT_THROW(mixed("w4a4", "down=f32").check(), Error);
  EXPECT_THROW(mixed("f32", "down=w4a4").check(), Error);
  EXPECT_THROW(mixed("bf16", "down=bf16+2:4").check(), Error);
  EXPECT_NO_THROW(mixed("bf16", "down=w4a4+2:4").check());
  Scheme scheme = mixed("w4a4", "down=w4a8");
  scheme.grid = GridShape::gaussian;  // no table of 8 bits
  EXPECT_THROW(scheme.check(), Error);
  scheme = mixed("w4a4", "down=bf16");  // which asks nothing of tables
  scheme.grid = GridShape::gaussian;
  EXPECT_NO_THROW(scheme.check());
  scheme = mixed("w4a4", "down=fp4");
  scheme.fp4_threshold = Fp4Threshold::code;
  EXPECT_NO_THROW(scheme.check());
  scheme.estimator = Estimator::lsq;
  EXPECT_THROW(scheme.check(), Error);
}

}  // namespace
}  // namespace lowbit
