#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "lowbit/base/file_map.h"
#include "lowbit/laws/fit.h"

// Against the published runs of QuEST and the constants stored with them (Panferov et al. 2025, arXiv 2502.05003).
namespace lowbit::laws {
namespace {

Points published() { return read_csv(read_file(LOWBIT_LAWS_DATA "/quest_main.csv"), "quest_main.csv"); }

Constants stored(double eff) { return {8.134031, 0.0627265, 86.411906, 0.2412884, 0.0014233, 0, 0, 0, {eff}}; }

/// eff of the code's result files.
const std::map<std::string, double> kEff{
    {"W1A1", 0.0205},       {"W2A2", 0.1519},       {"2:4 INT4", 0.3812},   {"W3A3", 0.4331},
    {"W4A4", 0.6918},       {"FP4", 0.6296},        {"W8A8", 1.0162},       {"no-HT W1A1", 0.0156},
    {"no-HT W2A2", 0.0784}, {"no-HT W3A3", 0.3221}, {"no-HT W4A4", 0.6033}, {"no-HT W8A8", 0.9376},
    {"W1A16", 0.1384},      {"W2A16", 0.4137},      {"W3A16", 0.6531},      {"W4A16", 0.8404}};

FitOptions quick() {
  FitOptions options;
  options.bootstrap = 0;
  return options;
}

const Found& constant(const Fit& fit, std::string_view name) {
  for (const Found& f : fit.constants)
    if (f.name == name) return f;
  ADD_FAILURE() << name;
  return fit.constants.front();
}

TEST(QuestLaw, StoredConstantsGiveThePublishedPredictions) {
  const auto loss = [](double n, double d, double eff) { return loss_at(Law::efficiency, stored(eff), n, d, eff); };
  EXPECT_NEAR(loss(1586076160, 159999852544, kEff.at("W4A4")), 2.3766, 1e-4);
  EXPECT_NEAR(loss(822151168, 79999795200, 1), 2.44803, 1e-5);
  EXPECT_NEAR(loss(30482560, 2999975936, kEff.at("W4A4")), 3.27215, 2e-5);  // the eff is printed to four digits
  EXPECT_NEAR(eff_beside(stored(1), 30482560, 3.31, 3.20714), 0.5580, 1e-4);
}

TEST(QuestLaw, WithStoredTermsHeldAlphaAndEveryEffAreThePublishedOnes) {
  FitOptions options = quick();
  options.hold = {{"B", 86.411906}, {"beta", 0.2412884}, {"E", 0.0014233}};
  const Fit result = fit(published(), options);
  EXPECT_NEAR(result.c.alpha, 0.0627265, 0.001);
  for (const auto& [name, eff] : kEff) EXPECT_NEAR(result.c.of_format[*result.points.find(name)], eff, 0.03) << name;
  EXPECT_TRUE(constant(result, "alpha").told) << constant(result, "alpha").why;
  EXPECT_TRUE(constant(result, "beta").held);
}

TEST(QuestLaw, SaysThatBetaAndEAreNotToldByRunsOfOneRatio) {
  const Fit result = fit(published(), quick());
  EXPECT_FALSE(constant(result, "beta").told);
  EXPECT_NE(constant(result, "beta").why.find("D/N is constant"), std::string::npos) << constant(result, "beta").why;
  EXPECT_FALSE(constant(result, "B").told);
  EXPECT_FALSE(constant(result, "E").told);
}

TEST(QuestLaw, TheAdditiveLawUpTo200MForetells430MAnd800M) {
  FitOptions options = quick();
  options.law = Law::additive;
  options.fit_below = 300e6;
  const Fit result = fit(published(), options);
  EXPECT_EQ(result.held_out, 13u);
  EXPECT_LT(*result.held_out_rms, 0.03);
  EXPECT_LT(result.rms, 0.01);
}

/// Leaves a format out, foretells all of its runs, and gives the rms of what that is off by.
double rms_without(const std::string& name, FitOptions options) {
  Points points = published();
  const std::size_t format = *points.find(name);
  std::vector<Point> unseen;
  for (const Point& p : points.points)
    if (p.format == format) {
      unseen.push_back(p);
      options.questions.push_back({p.n, p.d, name});
    }
  std::erase_if(points.points, [&](const Point& p) { return p.format == format; });
  const Fit result = fit(points, options);
  double squares = 0;
  for (std::size_t i = 0; i < unseen.size(); ++i) squares += std::pow(result.answers[i].loss - unseen[i].loss, 2);
  EXPECT_GE(unseen.size(), 3u);
  return std::sqrt(squares / static_cast<double>(unseen.size()));
}

TEST(QuestLaw, AFormatLeftOutIsForetoldByItsNeighboursInBits) {
  FitOptions options = quick();
  options.law = Law::additive;
  EXPECT_LT(rms_without("W3A3", options), 0.015);
  EXPECT_LT(rms_without("W2A2", options), 0.035);
  options = quick();
  options.hold = {{"B", 86.411906}, {"beta", 0.2412884}, {"E", 0.0014233}};
  EXPECT_LT(rms_without("W3A3", options), 0.015);
  EXPECT_LT(rms_without("W2A2", options), 0.035);
}

TEST(QuestLaw, AnEffFromOneSizeIsSaidToBeOne) {
  Points points = published();
  std::erase_if(points.points, [&](const Point& p) { return points.formats[p.format] == "FP4" && p.n > 4e7; });
  const Fit result = fit(points, quick());
  bool said = false;
  for (const std::string& note : result.notes) said |= note.find("eff of FP4 rests on one size") != std::string::npos;
  EXPECT_TRUE(said);
}

}  // namespace
}  // namespace lowbit::laws
