#include "lowbit/report/bits_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lowbit/report/page_sections.h"
#include "lowbit/report/text.h"

namespace lowbit::report {
namespace {

double error_of(const LayerBits& layer) {
  for (const BitsChoice& c : layer.choices)
    if (c.format == layer.format) return c.error;
  return kUnknown;
}

std::string against_uniform(const BitsRecord& r) {
  if (r.uniform.empty()) return "no format fits for all layers alike";
  return fmt::format("predicted {:.4f} nats per token below uniform {} ({:.4f} bits)", r.uniform_cost - r.cost,
                     r.uniform, r.uniform_bits);
}

}  // namespace

std::string bits_table(const BitsRecord& r) {
  std::string text = fmt::format("step {:>6}  {:.4f} of {:.4f} bits per weight allotted, {}\n", r.step, r.bits,
                                 r.budget, against_uniform(r));
  text += fmt::format("  {:<18}{:>10}{:>10}  {:<8}{:>8}{:>10}{:>12}", "layer", "alpha", "+-", "format", "bits", "error",
                      "cost, nats");
  for (const LayerBits& l : r.layers)
    text += fmt::format("\n  {:<18}{:>10.4f}{:>10.4f}  {:<8}{:>8.3f}{:>10.5f}{:>12.5f}", l.layer, l.alpha,
                        l.alpha_error, l.format, l.bits, error_of(l), l.cost);
  return text;
}

std::string bits_section(const RunRecords& records) {
  if (records.bits.empty()) return "";
  const BitsRecord& r = records.bits.back();
  std::string html = fmt::format(
      "<p>At step {} normal noise was added to one layer's weights at a time, on windows that the run had not come to, "
      "where the loss was {:.4f} "
      "nats per token. Alpha is the rise of the loss over the noise's relative square; a width costs alpha (at least "
      "its "
      "standard error) times its error on the layer. "
      "{:.4f} of {:.4f} bits per weight were allotted at the least sum: {}.</p>",
      grouped(r.step), r.loss, r.bits, r.budget, escape(against_uniform(r)));
  html += "<div class=\"scroll\"><table class=\"heat named\"><thead><tr><th>layer</th>";
  for (const char* heading : {"alpha", "&#177;", "format", "bits", "error", "cost, nats"})
    html += fmt::format("<th>{}</th>", heading);
  html += "</tr></thead><tbody>";
  double most = 0;
  for (const LayerBits& l : r.layers) most = std::max(most, l.alpha);
  for (const LayerBits& l : r.layers) {
    const auto cell = [](const std::string& text, double depth = 0) {
      return fmt::format("<td style=\"--a:{:.2f}\">{}</td>", depth, escape(text));
    };
    html += "<tr><th>" + escape(l.layer) + "</th>" +
            cell(fmt::format("{:.4f}", l.alpha),
                 most > 0 && std::isfinite(l.alpha) ? 0.6 * std::max(0.0, l.alpha) / most : 0) +
            cell(fmt::format("{:.4f}", l.alpha_error)) + cell(l.format) + cell(fmt::format("{:.3f}", l.bits)) +
            cell(fmt::format("{:.5f}", error_of(l))) + cell(fmt::format("{:.5f}", l.cost)) + "</tr>";
  }
  return section("bits", "Bits by layer", html + "</tbody></table></div>");
}

}  // namespace lowbit::report
