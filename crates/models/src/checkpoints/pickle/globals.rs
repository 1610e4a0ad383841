//! What the names in a pickle stand for. A pickle names functions and types of Python's; those that
//! files of weights keep are known here, each as what it makes of plain data. Everything else is
//! refused: see [`judge`].

use crate::elements::Element;

/// A function or type that is known, by what it makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Global {
    /// A dictionary of a list of pairs, of another dictionary, or of nothing.
    Dictionary,
    /// A dictionary, given what makes its missing values.
    DefaultDictionary,
    /// A set of a list.
    Set,
    /// A list of a list.
    List,
    /// A tuple of a list; sizes of tensors are tuples.
    Tuple,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`: a tensor of its storage's type.
    TypedTensor,
    /// `torch._utils._rebuild_tensor_v3`: a tensor whose type is given.
    UntypedTensor,
    /// Gives its first argument: a parameter of a tensor, or a tensor that lay on another device.
    FirstArgument,
    /// `torch._tensor._rebuild_from_type_v2`: calls its first argument with its third.
    FromType,
    /// A class of storages of numbers of one type.
    Storage(Element),
    /// A class of storages of bytes.
    UntypedStorage,
    /// A type of numbers.
    Dtype(Element),
    /// `copyreg._reconstructor`: an object of the class that is its first argument.
    Reconstructor,
    /// A type, or a function that makes plain values, by its name: whatever comes of it is left
    /// aside.
    Plain(&'static str),
}

/// What is known about a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    Known(Global),
    /// A function or type with which a pickle runs code of its choice.
    Dangerous,
    /// A type or function of somebody's, which means nothing here.
    Foreign,
}

/// Types and functions of plain values that people keep beside weights, in modules by their name
/// today.
const PLAIN: [&str; 88] = [
    "_codecs.encode",
    "argparse.Namespace",
    "builtins.bool",
    "builtins.bytearray",
    "builtins.bytes",
    "builtins.complex",
    "builtins.float",
    "builtins.int",
    "builtins.object",
    "builtins.range",
    "builtins.slice",
    "builtins.str",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.numeric._frombuffer",
    "numpy.bool",
    "numpy.bool_",
    "numpy.complex128",
    "numpy.complex64",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
    "numpy.dtype",
    "numpy.float16",
    "numpy.float32",
    "numpy.float64",
    "numpy.int16",
    "numpy.int32",
    "numpy.int64",
    "numpy.int8",
    "numpy.ndarray",
    "numpy.random.__generator_ctor",
    "numpy.random.__randomstate_ctor",
    "numpy.random._mt19937.MT19937",
    "numpy.random._pcg64.PCG64",
    "numpy.random._pickle.__bit_generator_ctor",
    "numpy.random._pickle.__generator_ctor",
    "numpy.random._pickle.__randomstate_ctor",
    "numpy.str_",
    "numpy.uint16",
    "numpy.uint32",
    "numpy.uint64",
    "numpy.uint8",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.StringNode",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.PurePosixPath",
    "pathlib._local.PureWindowsPath",
    "pathlib._local.WindowsPath",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "torch.Tensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_wrapper_subclass",
    "torch.device",
    "torch.nn.parameter.Parameter",
    "torch.per_channel_affine",
    "torch.per_channel_affine_float_qparams",
    "torch.per_channel_symmetric",
    "torch.per_tensor_affine",
    "torch.per_tensor_symmetric",
    "torch.serialization._get_layout",
    "types.SimpleNamespace",
    "typing.Any",
    "uuid.UUID",
];

/// Dictionaries under names of their own.
const DICTIONARIES: [&str; 12] = [
    "addict.addict.Dict",
    "builtins.dict",
    "collections.Counter",
    "collections.OrderedDict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
];

/// Modules whose functions and types run code, read and write files or open connections. What they
/// offer beside that is in [`PLAIN`].
const DANGEROUS_MODULES: [&str; 58] = [
    "_io",
    "_pickle",
    "asyncio",
    "atexit",
    "bdb",
    "builtins",
    "cProfile",
    "cloudpickle",
    "code",
    "codeop",
    "commands",
    "concurrent",
    "copyreg",
    "ctypes",
    "dill",
    "distutils",
    "doctest",
    "ensurepip",
    "ftplib",
    "glob",
    "http",
    "idlelib",
    "imp",
    "importlib",
    "inspect",
    "io",
    "joblib",
    "linecache",
    "marshal",
    "multiprocessing",
    "nt",
    "numpy.f2py",
    "numpy.testing",
    "operator",
    "os",
    "pdb",
    "pickle",
    "pip",
    "pkgutil",
    "posix",
    "profile",
    "pty",
    "requests",
    "runpy",
    "setuptools",
    "shelve",
    "shutil",
    "site",
    "smtplib",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "timeit",
    "urllib",
    "venv",
    "webbrowser",
    "zipimport",
];

/// Names inside other modules that run code or make functions, beside the modules above.
const DANGEROUS_NAMES: [&str; 14] = [
    "functools.reduce",
    "logging.config",
    "numpy.load",
    "torch.hub",
    "torch.jit",
    "torch.load",
    "torch.ops",
    "torch.serialization.load",
    "torch.utils.cpp_extension",
    "torch._dynamo",
    "torch._inductor",
    "trace.Trace",
    "types.CodeType",
    "types.FunctionType",
];

/// The name under which Python 3 knows a name that Python 2, or protocol 2, wrote.
pub(super) fn full_name(module: &str, name: &str) -> String {
    match (module, name) {
        ("__builtin__", "xrange") => "builtins.range".into(),
        ("__builtin__", name) => format!("builtins.{name}"),
        ("copy_reg", name) => format!("copyreg.{name}"),
        ("cPickle", name) => format!("pickle.{name}"),
        (module, name) => format!("{module}.{name}"),
    }
}

/// Whether `name` is `prefix` or something inside it.
fn lies_in(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What a full name stands for.
pub(super) fn judge(name: &str) -> Verdict {
    if let Some(known) = known(name) {
        return Verdict::Known(known);
    }
    let mut dangerous = DANGEROUS_MODULES.iter().chain(&DANGEROUS_NAMES);
    match dangerous.any(|dangerous| lies_in(name, dangerous)) {
        true => Verdict::Dangerous,
        false => Verdict::Foreign,
    }
}

fn known(name: &str) -> Option<Global> {
    let made = match name {
        "builtins.frozenset" | "builtins.set" => Global::Set,
        "builtins.list" | "collections.deque" => Global::List,
        "builtins.tuple" | "torch.Size" => Global::Tuple,
        "collections.defaultdict" => Global::DefaultDictionary,
        "copyreg._reconstructor" => Global::Reconstructor,
        "torch._tensor._rebuild_from_type_v2" => Global::FromType,
        "torch._utils._rebuild_device_tensor_from_cpu_tensor"
        | "torch._utils._rebuild_parameter"
        | "torch._utils._rebuild_parameter_with_state" => Global::FirstArgument,
        "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => Global::TypedTensor,
        "torch._utils._rebuild_tensor_v3" => Global::UntypedTensor,
        "torch.storage.UntypedStorage" | "torch.UntypedStorage" => Global::UntypedStorage,
        _ if DICTIONARIES.contains(&name) => Global::Dictionary,
        _ => return known_plain(name).or_else(|| known_of_torch(name)),
    };
    Some(made)
}

fn known_plain(name: &str) -> Option<Global> {
    let plain = PLAIN.iter().find(|known| **known == name);
    plain.map(|name| Global::Plain(name))
}

/// A storage class or a type of numbers.
fn known_of_torch(name: &str) -> Option<Global> {
    let name = name.strip_prefix("torch.")?;
    let class = name.strip_prefix("cuda.").unwrap_or(name);
    let storage = Element::from_storage_class(class).map(Global::Storage);
    storage.or_else(|| Element::from_name(name).map(Global::Dtype))
}

/// Whether a name is a class by the custom of its first letter.
pub(super) fn is_class(name: &str) -> bool {
    let own = name.rsplit('.').next().unwrap_or_default();
    own.trim_start_matches('_')
        .starts_with(|c: char| c.is_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn names_of_either_python_are_the_same() {
        let range = judge(&full_name("__builtin__", "xrange"));
        assert_eq!(range, Verdict::Known(Global::Plain("builtins.range")));
        let set = judge(&full_name("__builtin__", "set"));
        assert_eq!(set, Verdict::Known(Global::Set));
    }

    #[test]
    fn types_and_storages_are_known() {
        let float = Element::Plain(Kind::Float);
        for (name, made) in [
            ("torch.float32", Global::Dtype(float)),
            ("torch.FloatStorage", Global::Storage(float)),
            ("torch.cuda.FloatStorage", Global::Storage(float)),
            ("torch.uint16", Global::Dtype(Element::Uint16)),
        ] {
            assert_eq!(judge(name), Verdict::Known(made), "{name}");
        }
    }

    #[test]
    fn what_runs_code_is_told_apart_from_what_is_unknown() {
        for name in [
            "builtins.eval",
            "builtins.getattr",
            "os.system",
            "posix.system",
            "os.path.join",
            "subprocess.Popen",
            "torch.hub.load",
            "types.FunctionType",
            "operator.attrgetter",
        ] {
            assert_eq!(judge(name), Verdict::Dangerous, "{name}");
        }
        for name in [
            "models.unet.UNet",
            "osmosis.f",
            "torch.nn.modules.linear.Linear",
        ] {
            assert_eq!(judge(name), Verdict::Foreign, "{name}");
        }
    }

    #[test]
    fn lists_of_names_have_no_name_twice() {
        for list in [
            &PLAIN[..],
            &DICTIONARIES,
            &DANGEROUS_MODULES,
            &DANGEROUS_NAMES,
        ] {
            let unique: std::collections::BTreeSet<_> = list.iter().collect();
            assert_eq!(unique.len(), list.len());
        }
    }
}
