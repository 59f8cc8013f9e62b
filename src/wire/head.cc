#include "src/wire/head.h"

#include <nlohmann/json.hpp>

namespace turso {

namespace {

using nlohmann::json;

// A single value: freeing it takes no memory.
std::string Quoted(std::string_view text) {
  // A text that is not UTF-8 must not throw; nothing that is compared is ever such a text.
  return json(std::string(text)).dump(-1, ' ', false, json::error_handler_t::replace);
}

template <typename T>
Result<T> Field(const Head& head, const char* name, const char* kind) {
  const Head::Value* value = head.Find(name);
  const T* held = value == nullptr ? nullptr : std::get_if<T>(value);
  if (held != nullptr) return *held;
  return Status(Code::kCorrupt, std::string("message: no ") + kind + " \"" + name + "\"");
}

}  // namespace

void HeadText::Begin(const char* name) {
  if (!fields_.empty()) fields_ += ',';
  fields_ += Quoted(name);
  fields_ += ':';
}

HeadText& HeadText::Add(const char* name, std::string_view text) {
  Begin(name);
  fields_ += Quoted(text);
  return *this;
}

HeadText& HeadText::Add(const char* name, uint64_t number) {
  Begin(name);
  fields_ += std::to_string(number);
  return *this;
}

HeadText& HeadText::Add(const char* name, std::span<const PageNo> pages) {
  Begin(name);
  char before = '[';
  for (PageNo page : pages) {
    fields_ += before;
    fields_ += std::to_string(page.value);
    before = ',';
  }
  fields_ += pages.empty() ? "[]" : "]";
  return *this;
}

// Takes the events of nlohmann's parser. An event's answer is whether to go on.
class Head::Reader : public json::json_sax_t {
 public:
  explicit Reader(Head* head) : head_(head) {}

  bool null() override { return Put(Value()); }
  bool boolean(bool value) override { return Put(Value(value)); }
  bool number_integer(json::number_integer_t value) override {
    return Put(value < 0 ? Value() : Value(static_cast<uint64_t>(value)));
  }
  bool number_unsigned(json::number_unsigned_t value) override {
    return Put(Value(uint64_t{value}));
  }
  bool number_float(json::number_float_t, const json::string_t&) override { return Put(Value()); }
  bool string(json::string_t& value) override { return Put(Value(std::move(value))); }
  bool binary(json::binary_t&) override { return false; }
  bool start_object(size_t) override { return Descend(Value()); }
  bool key(json::string_t& name) override {
    if (depth_ == 1) name_ = std::move(name);
    return true;
  }
  bool end_object() override { return Ascend(); }
  bool start_array(size_t) override { return Descend(Value(Texts())); }
  bool end_array() override { return Ascend(); }
  bool parse_error(size_t, const std::string&, const json::exception&) override { return false; }

  bool is_object() const { return is_object_; }

 private:
  // Of what is nested, a list in the head itself alone has a value.
  bool Descend(Value empty) {
    if (depth_ == 0) {
      is_object_ = std::holds_alternative<std::monostate>(empty);
      if (!is_object_) return false;
    } else if (depth_ == 1) {
      head_->fields_[name_] = std::move(empty);
    } else {
      head_->fields_[name_] = Value();
    }
    depth_++;
    return true;
  }
  bool Ascend() {
    depth_--;
    return true;
  }
  bool Put(Value value) {
    if (depth_ == 0) return false;
    Value& field = head_->fields_[name_];
    if (depth_ == 1) {
      field = std::move(value);
    } else if (depth_ > 2 || !Append(&field, &value)) {
      field = Value();
    }
    return true;
  }
  // To a list whose items are all of one kind.
  static bool Append(Value* list, Value* item) {
    auto* texts = std::get_if<Texts>(list);
    if (texts != nullptr && std::holds_alternative<std::string>(*item)) {
      texts->push_back(std::get<std::string>(std::move(*item)));
      return true;
    }
    if (!std::holds_alternative<uint64_t>(*item)) return false;
    if (texts != nullptr && texts->empty()) *list = Numbers();
    auto* numbers = std::get_if<Numbers>(list);
    if (numbers == nullptr) return false;
    numbers->push_back(std::get<uint64_t>(*item));
    return true;
  }

  Head* head_;
  std::string name_;
  int depth_ = 0;
  bool is_object_ = false;
};

Result<Head> Head::Parse(ByteView text) {
  Head head;
  Reader reader(&head);
  if (!json::sax_parse(text.begin(), text.end(), &reader) || !reader.is_object()) {
    return Status(Code::kCorrupt, "message: the head is not a JSON object");
  }
  return head;
}

const Head::Value* Head::Find(std::string_view name) const {
  auto it = fields_.find(name);
  return it == fields_.end() ? nullptr : &it->second;
}

Result<std::string> TextField(const Head& head, const char* name) {
  return Field<std::string>(head, name, "text");
}
Result<uint64_t> NumberField(const Head& head, const char* name) {
  return Field<uint64_t>(head, name, "number");
}
Result<bool> BoolField(const Head& head, const char* name) {
  return Field<bool>(head, name, "true or false");
}
Result<Head::Texts> TextsField(const Head& head, const char* name) {
  return Field<Head::Texts>(head, name, "list of texts");
}
Result<Head::Numbers> NumbersField(const Head& head, const char* name) {
  const Head::Value* value = head.Find(name);
  const auto* texts = value == nullptr ? nullptr : std::get_if<Head::Texts>(value);
  if (texts != nullptr && texts->empty()) return Head::Numbers();
  return Field<Head::Numbers>(head, name, "list of numbers");
}

}  // namespace turso
