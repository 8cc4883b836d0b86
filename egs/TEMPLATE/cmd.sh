# shellcheck shell=bash
# How jobs run. Sourced by ser.sh after path.sh, which puts utils/ on the path.
#
# The three commands are called as in Kaldi: $cmd [options] [JOB=1:N] <log> <command> [args ...].
# To use your site's own run.pl, queue.pl or slurm.pl, put it on the path and name it below, with
# its options if it needs some: train_cmd="queue.pl -q all.q". cuda_cmd is called with --gpu N.

cmd_backend=${cmd_backend:-local} # local: on this machine; slurm: on the cluster that it submits to

case ${cmd_backend} in
    local)
        export train_cmd="run.py"  # jobs that need no GPU
        export cuda_cmd="run.py"   # jobs that use --ngpu GPUs
        export decode_cmd="run.py" # posteriors
        ;;
    slurm)
        # What sbatch gets is in conf/slurm.conf of the repository, for all recipes. Options of one
        # command alone go here, such as "--mem 8G --time 24:00:00".
        export train_cmd="slurm.py --config ../../conf/slurm.conf"
        export cuda_cmd="slurm.py --config ../../conf/slurm.conf"
        export decode_cmd="slurm.py --config ../../conf/slurm.conf"
        ;;
    *)
        echo "cmd.sh: cmd_backend is '${cmd_backend}'; it must be local or slurm" >&2
        return 2
        ;;
esac
