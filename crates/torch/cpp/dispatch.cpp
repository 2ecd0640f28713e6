// Any op of torch by its name and overload: the dispatcher, called boxed. src/dispatch.rs is the other side.
//
// Nothing here may throw across the border: each function that calls torch catches, and hands out the words, which the caller
// frees with t2m_free.

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ATen.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace {

char* words(const std::string& text) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy != nullptr) std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

template <typename Function>
char* caught(Function function) {
  try {
    function();
    return nullptr;
  } catch (const c10::Error& error) {
    return words(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return words(error.what());
  } catch (...) {
    return words("libtorch threw something that is no exception");
  }
}

// What an argument is made of, in the order of the schema: a value each, or a list.
struct Call {
  c10::OperatorHandle op;
  torch::jit::Stack stack;
};

// A plain number as the schema wants it.
c10::IValue shaped(const c10::IValue& value, const c10::Type& type) {
  switch (type.kind()) {
    case c10::TypeKind::OptionalType:
      if (value.isNone()) return value;
      return shaped(value, *type.castRaw<c10::OptionalType>()->getElementType());
    case c10::TypeKind::FloatType:
      return value.isInt() ? c10::IValue(static_cast<double>(value.toInt())) : value;
    case c10::TypeKind::TensorType:
      // A number where the schema has a tensor is a tensor of its own type without axes.
      if (value.isInt() || value.isDouble() || value.isBool()) return c10::scalar_to_tensor(value.toScalar());
      return value;
    case c10::TypeKind::ListType: {
      const auto& element = *type.castRaw<c10::ListType>()->getElementType();
      if (!value.isList() && (element.kind() == c10::TypeKind::IntType || element.kind() == c10::TypeKind::SymIntType) && value.isInt())
        return c10::IValue(std::vector<int64_t>{value.toInt()});
      if (!value.isList()) return value;
      const auto items = value.toListRef();
      switch (element.kind()) {
        case c10::TypeKind::IntType:
        case c10::TypeKind::SymIntType: {
          std::vector<int64_t> all;
          for (const auto& item : items) all.push_back(item.toInt());
          return c10::IValue(std::move(all));
        }
        case c10::TypeKind::FloatType: {
          std::vector<double> all;
          for (const auto& item : items) all.push_back(item.isInt() ? static_cast<double>(item.toInt()) : item.toDouble());
          return c10::IValue(std::move(all));
        }
        case c10::TypeKind::BoolType: {
          c10::List<bool> all;
          for (const auto& item : items) all.push_back(item.toBool());
          return c10::IValue(std::move(all));
        }
        case c10::TypeKind::NumberType: {
          c10::List<at::Scalar> all;
          for (const auto& item : items) all.push_back(item.toScalar());
          return c10::IValue(std::move(all));
        }
        case c10::TypeKind::TensorType: {
          c10::List<at::Tensor> all;
          for (const auto& item : items) all.push_back(item.toTensor());
          return c10::IValue(std::move(all));
        }
        case c10::TypeKind::OptionalType: {
          c10::List<std::optional<at::Tensor>> all;
          for (const auto& item : items)
            all.push_back(item.isNone() ? std::optional<at::Tensor>() : std::optional<at::Tensor>(item.toTensor()));
          return c10::IValue(std::move(all));
        }
        default:
          return value;
      }
    }
    default:
      return value;
  }
}

}  // namespace

extern "C" {

void t2m_free(char* text) { std::free(text); }

// The op, or words.
char* t2m_find(const char* name, const char* overload, Call** call) {
  *call = nullptr;
  return caught([&] {
    auto op = c10::Dispatcher::singleton().findSchema({name, overload});
    if (!op.has_value() || !op->hasSchema()) throw std::runtime_error("libtorch has no such op");
    *call = new Call{*op, {}};
  });
}

void t2m_end(Call* call) { delete call; }

// How many arguments the op takes.
size_t t2m_arguments(const Call* call) { return call->op.schema().arguments().size(); }

const char* t2m_argument(const Call* call, size_t at) { return call->op.schema().arguments()[at].name().c_str(); }

// Whether the op writes into this argument.
bool t2m_writes(const Call* call, size_t at) {
  const auto* alias = call->op.schema().arguments()[at].alias_info();
  return alias != nullptr && alias->isWrite();
}

// Values in the making; each is freed by t2m_value_end.
c10::IValue* t2m_none() { return new c10::IValue(); }
c10::IValue* t2m_bool(bool value) { return new c10::IValue(value); }
c10::IValue* t2m_int(int64_t value) { return new c10::IValue(value); }
c10::IValue* t2m_float(double value) { return new c10::IValue(value); }
c10::IValue* t2m_text(const char* value) { return new c10::IValue(std::string(value)); }
c10::IValue* t2m_tensor(const at::Tensor* value) { return new c10::IValue(*value); }
c10::IValue* t2m_dtype(int8_t value) { return new c10::IValue(static_cast<int64_t>(value)); }
c10::IValue* t2m_device() { return new c10::IValue(c10::Device(c10::kCPU)); }
c10::IValue* t2m_layout() { return new c10::IValue(static_cast<int64_t>(c10::kStrided)); }
c10::IValue* t2m_memory_format() { return new c10::IValue(static_cast<int64_t>(c10::MemoryFormat::Contiguous)); }
c10::IValue* t2m_list() { return new c10::IValue(c10::impl::GenericList(c10::AnyType::get())); }
void t2m_list_push(c10::IValue* list, const c10::IValue* item) { list->toList().push_back(*item); }
void t2m_value_end(c10::IValue* value) { delete value; }

// Push the next argument, or its default where there is none.
char* t2m_push(Call* call, const c10::IValue* value) {
  return caught([&] {
    const auto& argument = call->op.schema().arguments().at(call->stack.size());
    if (value != nullptr) {
      call->stack.push_back(shaped(*value, *argument.type()));
    } else if (argument.default_value().has_value()) {
      call->stack.push_back(*argument.default_value());
    } else if (argument.type()->kind() == c10::TypeKind::OptionalType) {
      call->stack.push_back(c10::IValue());
    } else {
      throw std::runtime_error("the argument `" + argument.name() + "` is missing");
    }
  });
}

// Call it. Its results lie on the stack then, those of a list one by one.
char* t2m_call(Call* call) {
  return caught([&] {
    at::NoGradGuard no_grad;
    call->op.callBoxed(&call->stack);
    torch::jit::Stack flat;
    for (const auto& value : call->stack) {
      if (value.isTensorList()) {
        for (const at::Tensor& tensor : value.toTensorList()) flat.push_back(tensor);
      } else {
        flat.push_back(value);
      }
    }
    call->stack = std::move(flat);
  });
}

size_t t2m_results(const Call* call) { return call->stack.size(); }

// 0 nothing, 1 a tensor, 2 a whole number, 3 a number, 4 a truth value.
int t2m_result_kind(const Call* call, size_t at) {
  const auto& value = call->stack[at];
  if (value.isTensor()) return value.toTensor().defined() ? 1 : 0;
  if (value.isInt() || value.isSymInt()) return 2;
  if (value.isDouble() || value.isSymFloat()) return 3;
  if (value.isBool() || value.isSymBool()) return 4;
  return 0;
}

at::Tensor* t2m_result_tensor(const Call* call, size_t at) { return new at::Tensor(call->stack[at].toTensor()); }

char* t2m_result_int(const Call* call, size_t at, int64_t* number) {
  return caught([&] { *number = call->stack[at].isSymInt() ? call->stack[at].toSymInt().expect_int() : call->stack[at].toInt(); });
}

char* t2m_result_float(const Call* call, size_t at, double* number) {
  return caught([&] {
    *number = call->stack[at].isSymFloat() ? call->stack[at].toSymFloat().expect_float() : call->stack[at].toDouble();
  });
}

char* t2m_result_bool(const Call* call, size_t at, bool* value) {
  return caught([&] { *value = call->stack[at].isSymBool() ? call->stack[at].toSymBool().expect_bool() : call->stack[at].toBool(); });
}

// Where a tensor's elements are. False for a tensor that has no storage.
bool t2m_place(const at::Tensor* tensor, uint64_t* storage, int64_t* offset, int64_t* strides) {
  if (!tensor->has_storage() || tensor->layout() != c10::kStrided) return false;
  *storage = reinterpret_cast<uint64_t>(tensor->storage().unsafeGetStorageImpl());
  *offset = tensor->storage_offset();
  for (int64_t axis = 0; axis < tensor->dim(); ++axis) strides[axis] = tensor->stride(axis);
  return true;
}

// What tensors made from nothing have, where the op is not told.
void t2m_default_dtype(bool is_double) {
  c10::set_default_dtype(c10::scalarTypeToTypeMeta(is_double ? c10::kDouble : c10::kFloat));
}

}  // extern "C"
