"""Seeded accidents in small runs between processes: do the runs go on, or end as they should, and then go on?"""
