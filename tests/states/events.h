// Everything that may happen to a rollout, one thing at a time. A new kind of event is a row of the
// table in events.cc: the exploration, the walks and docs/states.md take it up from there.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tests/states/model.h"

namespace consul_canary::states {

struct Event {
  std::string_view name;
  bool (*possible)(const Model&);  // and changes anything
  void (*happen)(Model&);          // leaves model.last where the analyzer looked
};

[[nodiscard]] std::span<const Event> AllEvents();
[[nodiscard]] const Event& EventNamed(std::string_view name);

// Afterwards model.last is the event's look, or nothing.
void Happen(Model& model, const Event& event);

// Everything is known, passing, fresh and written from now on; edits of weights stay.
void BringQuiet(Model& model);

}  // namespace consul_canary::states
