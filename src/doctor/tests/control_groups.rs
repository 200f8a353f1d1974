//! Control groups as the kernel shows them, in trees of invented files.

use std::fs;

use super::*;

/// What is left below `membership` in a tree of these files.
fn left(files: &[(&str, &str)], membership: &str) -> ControlGroup {
    let root = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    ControlGroup::under(root.path(), membership)
}

fn limits(memory: Option<u64>, cpu_milli: Option<u64>, tasks: Option<u64>) -> ControlGroup {
    ControlGroup { memory_left_bytes: memory, cpu_milli, tasks_left: tasks }
}

#[test]
fn version_two_is_one_tree() {
    let files = [
        ("a/memory.max", "1000\n"),
        ("a/memory.current", "900\n"),
        ("a/memory.stat", "anon 600\nfile 300\ninactive_file 200\nactive_file 100\n"),
        ("a/cpu.max", "150000 100000\n"),
        ("a/pids.max", "100\n"),
        ("a/pids.current", "40\n"),
        ("a/b/memory.max", "max\n"),
        ("a/b/cpu.max", "max 100000\n"),
        ("a/b/pids.max", "max\n"),
    ];
    // The page cache that the kernel gives up first is as good as free.
    let narrow = limits(Some(300), Some(1500), Some(60));
    for (membership, expected) in [
        ("0::/a\n", narrow),
        ("0::/a/b\n", narrow),
        ("0::/\n", limits(None, None, None)),
        ("0::/elsewhere\n", limits(None, None, None)),
        ("", limits(None, None, None)),
    ] {
        assert_eq!(left(&files, membership), expected, "{membership}");
    }
}

#[test]
fn version_one_is_a_tree_for_each_controller() {
    let files = [
        ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory/job/memory.limit_in_bytes", "5000\n"),
        ("memory/job/memory.usage_in_bytes", "4500\n"),
        ("memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n"),
        ("cpu/cpu.cfs_quota_us", "-1\n"),
        ("cpu/job/cpu.cfs_quota_us", "50000\n"),
        ("cpu/job/cpu.cfs_period_us", "100000\n"),
        ("pids/job/pids.max", "32\n"),
        ("pids/job/pids.current", "2\n"),
    ];
    for (membership, expected) in [
        (
            "4:memory:/job\n3:cpu,cpuacct:/job\n2:pids:/job\n",
            limits(Some(1000), Some(500), Some(30)),
        ),
        ("4:memory:/job/deeper\n3:cpu:/\n2:pids:/\n", limits(Some(1000), None, None)),
        ("4:memory:/\n1:name=systemd:/job\n", limits(None, None, None)),
    ] {
        assert_eq!(left(&files, membership), expected, "{membership}");
    }
}

#[test]
fn a_container_that_is_told_its_hosts_path_sees_its_own_root() {
    let files = [
        ("memory/memory.limit_in_bytes", "700\n"),
        ("memory/memory.usage_in_bytes", "100\n"),
        ("pids/pids.max", "9\n"),
    ];
    let membership = "4:memory:/docker/0123\n8:pids:/docker/0123\n";
    assert_eq!(left(&files, membership), limits(Some(600), None, Some(9)));
}

#[test]
fn on_a_hybrid_host_the_narrower_of_both_versions_binds() {
    let files = [
        ("unified/job/pids.max", "50\n"),
        ("unified/job/memory.max", "300\n"),
        ("memory/job/memory.limit_in_bytes", "200\n"),
    ];
    assert_eq!(left(&files, "4:memory:/job\n0::/job\n"), limits(Some(200), None, Some(50)));
}

#[test]
fn a_group_that_is_over_its_limit_has_nothing_left() {
    let files =
        [("memory.max", "10"), ("memory.current", "11"), ("pids.max", "1"), ("pids.current", "2")];
    assert_eq!(left(&files, "0::/"), limits(Some(0), None, Some(0)));
}
