"""Holds the library that puts an OpenBLAS under MLX on Linux; the program is `t2m-mlx`. There is nothing to import."""
