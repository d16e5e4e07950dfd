// Values whose copies share one object until one of them is changed: a snapshot a second holds what
// thousands of sidecars counted, and most of it is what the last one held.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>

namespace consul_canary::collect {

// A standard container (map or vector), read as such. Reading from several threads is safe; what
// changes it makes a copy of its own first, unless nobody else holds it.
template <class Container>
class Shared {
 public:
  using value_type = typename Container::value_type;
  using const_iterator = typename Container::const_iterator;
  using iterator = const_iterator;

  Shared() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): stands for the container everywhere.
  Shared(Container container) : shared_(std::make_shared<Container>(std::move(container))) {}
  Shared(std::initializer_list<value_type> values) : Shared(Container(values)) {}

  [[nodiscard]] const Container& get() const {
    static const Container kEmpty;
    return shared_ ? *shared_ : kEmpty;
  }
  // NOLINTNEXTLINE(google-explicit-constructor): as above.
  operator const Container&() const { return get(); }

  [[nodiscard]] const_iterator begin() const { return get().begin(); }
  [[nodiscard]] const_iterator end() const { return get().end(); }
  [[nodiscard]] std::size_t size() const { return get().size(); }
  [[nodiscard]] bool empty() const { return get().empty(); }
  template <class Key>
  [[nodiscard]] const_iterator find(const Key& key) const {
    return get().find(key);
  }
  template <class Key>
  [[nodiscard]] bool contains(const Key& key) const {
    return get().contains(key);
  }
  template <class Key>
  [[nodiscard]] const auto& at(const Key& key) const {
    return get().at(key);
  }
  [[nodiscard]] const auto& operator[](std::size_t index) const { return get()[index]; }

  // For changing.
  [[nodiscard]] Container& Own() {
    if (!shared_) {
      shared_ = std::make_shared<Container>();
    } else if (shared_.use_count() > 1) {
      shared_ = std::make_shared<Container>(*shared_);
    }
    return *shared_;
  }
  template <class Key>
  [[nodiscard]] auto& operator[](const Key& key) {
    return Own()[key];
  }

  // Whether it is the same object, which no comparison of what is in it can tell.
  [[nodiscard]] bool IsSame(const Shared& other) const { return shared_ == other.shared_; }
  // Lives as long as any copy of this.
  [[nodiscard]] std::shared_ptr<const Container> share() const { return shared_; }

  friend bool operator==(const Shared& left, const Shared& right) {
    return left.shared_ == right.shared_ || left.get() == right.get();
  }

 private:
  std::shared_ptr<Container> shared_;
};

// The same for an optional.
template <class T>
class SharedOptional {
 public:
  SharedOptional() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as std::optional.
  SharedOptional(T value) : shared_(std::make_shared<T>(std::move(value))) {}
  // NOLINTNEXTLINE(google-explicit-constructor): as std::optional.
  SharedOptional(std::optional<T> value) {
    if (value) *this = SharedOptional(*std::move(value));
  }

  [[nodiscard]] explicit operator bool() const { return shared_ != nullptr; }
  [[nodiscard]] bool has_value() const { return shared_ != nullptr; }
  [[nodiscard]] const T& operator*() const { return *shared_; }
  [[nodiscard]] const T* operator->() const { return shared_.get(); }
  [[nodiscard]] T* operator->() {
    if (shared_.use_count() > 1) shared_ = std::make_shared<T>(*shared_);
    return shared_.get();
  }
  void reset() { shared_.reset(); }
  [[nodiscard]] std::shared_ptr<const T> share() const { return shared_; }

  friend bool operator==(const SharedOptional& left, const SharedOptional& right) {
    if (left.shared_ == right.shared_) return true;
    return left.shared_ && right.shared_ && *left.shared_ == *right.shared_;
  }

 private:
  std::shared_ptr<T> shared_;
};

}  // namespace consul_canary::collect
