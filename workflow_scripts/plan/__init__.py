"""What concerns the whole plan: checks of what is declared, what jobs ask for, what comes from a network.

The jobs themselves are planned beside their stages, in each stage's `plan.py`.
"""
